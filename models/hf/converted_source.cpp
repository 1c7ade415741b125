#include "models/hf/converted_source.h"

#include <algorithm>

#include "core/base/errors.h"
#include "models/hf/tensor_list.h"

namespace pscale {

ConvertedSource::ConvertedSource(TensorSource& base, const ModelConfig& target, uint64_t seed, DType new_dtype)
    : base_(&base), seed_(seed), tensors_(base.tensors()) {
  PSCALE_CHECK(new_dtype == DType::float32 || new_dtype == DType::bfloat16, "new tensors in ", name_of(new_dtype));
  const std::vector<ParameterSpec> declared = declared_parameters(target);
  TensorDifferences differences = compare_tensors(base.tensors(), declared);
  for (const ParameterSpec& spec : declared) {
    if (!spec.added || base.tensors().contains(spec.name)) continue;
    std::erase(differences.missing, spec.name);
    ParameterSpec in_file = spec;  // the same elements in the same order, so the same values
    in_file.shape = shape_in_files(spec);
    tensors_[spec.name] = {new_dtype, in_file.shape, "the new weights"};
    added_.emplace(spec.name, std::move(in_file));
  }
  auto problems = differences.problems(base.path());
  if (!problems.empty()) throw UserError(std::move(problems));
}

void ConvertedSource::read_rows(const std::string& name, int64_t first, int64_t count, void* out) {
  const auto found = added_.find(name);
  if (found == added_.end()) return base_->read_rows(name, first, count, out);
  const ParameterSpec& spec = found->second;
  Hyperslab rows{Shape(spec.shape.size(), 0), spec.shape};
  rows.start[0] = first;
  rows.count[0] = count;
  const std::vector<float> values = initial_values(spec, rows, seed_);
  if (tensors_.at(name).dtype == DType::float32) {
    std::copy(values.begin(), values.end(), static_cast<float*>(out));
  } else {
    std::transform(values.begin(), values.end(), static_cast<bfloat16*>(out), [](float v) { return bfloat16(v); });
  }
}

}  // namespace pscale
