#include "models/hf/tensor_list.h"

#include "core/base/errors.h"
#include "models/parscale/model.h"
#include "parallel/comm/planned.h"

namespace pscale {

std::string names_of(const std::vector<std::string>& names) {
  if (names.size() <= kNamesShown) return join(names, ", ");
  const std::vector<std::string> shown(names.begin(), names.begin() + kNamesShown);
  return cat(join(shown, ", "), " and ", names.size() - kNamesShown, " more");
}

std::vector<ParameterSpec> declared_parameters(const ModelConfig& config) {
  const Device device = Device::planning();
  const std::unique_ptr<Mesh> mesh = make_planned_mesh(Layout{1, 1, 1}, 0);
  ParameterSet parameters(device, *mesh, DType::bfloat16, true);
  const ParScaleModel model(config, parameters, Recompute::none);
  std::vector<ParameterSpec> specs;
  for (const Parameter& p : parameters.all()) specs.push_back(p.spec());
  return specs;
}

TensorDifferences compare_tensors(const std::map<std::string, TensorSource::Info>& held,
                                  const std::vector<ParameterSpec>& declared) {
  TensorDifferences differences;
  std::map<std::string, bool> known;
  for (const ParameterSpec& spec : declared) {
    known[spec.name] = true;
    const auto found = held.find(spec.name);
    if (found == held.end()) {
      differences.missing.push_back(spec.name);
    } else if (found->second.shape != shape_in_files(spec)) {
      differences.misshapen.push_back(
          cat(spec.name, " ", to_string(found->second.shape), " instead of ", to_string(shape_in_files(spec))));
    }
  }
  for (const auto& [name, info] : held)
    if (!known.contains(name)) differences.unexpected.push_back(name);
  return differences;
}

std::vector<std::string> TensorDifferences::problems(const std::string& source) const {
  std::vector<std::string> problems;
  const auto list = [&](const std::vector<std::string>& names, const char* what) {
    if (!names.empty())
      problems.push_back(
          cat(source, ": ", names.size(), names.size() == 1 ? " tensor " : " tensors ", what, ": ", names_of(names)));
  };
  list(missing, "missing that the configuration asks for");
  list(unexpected, "that the configuration knows nothing of");
  list(misshapen, "of another shape than the configuration gives");
  return problems;
}

void check_tensors(const TensorSource& source, const ModelConfig& config) {
  auto problems = compare_tensors(source.tensors(), declared_parameters(config)).problems(source.path());
  if (!problems.empty()) throw UserError(std::move(problems));
}

}  // namespace pscale
