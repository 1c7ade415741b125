// pscale_parity CASE... [--tensor T] [--replica R] [--data D] [--out FILE]: golden cases under a layout of MPI ranks.
#include <iomanip>
#include <iostream>

#include "launch/command_line.h"
#include "launch/parity/parity.h"
#include "launch/program.h"
#include "launch/session.h"

namespace {

namespace options = boost::program_options;
using namespace pscale;

struct Settings {
  std::vector<std::string> cases;
  Layout asked{0, 0, 1};
  ParityOptions parity;
  std::string out;
};

DType dtype_named(const std::string& name) {
  for (const DType type : {DType::float32, DType::bfloat16, DType::float64})
    if (name == name_of(type)) return type;
  throw UserError(cat("--dtype ", name, ": float32, bfloat16 or float64 is needed"));
}

Recompute recompute_named(const std::string& name) {
  if (name == "none") return Recompute::none;
  if (name == "attention") return Recompute::attention;
  if (name == "block") return Recompute::block;
  throw UserError(cat("--recompute ", name, ": none, attention or block is needed"));
}

/// The names and shapes of expected.safetensors, plus `losses` and `grad_norms`.
void write_result(const std::string& path, const GoldenCase& golden, const ParityResult& result) {
  std::map<std::string, SafetensorsValue> tensors;
  tensors["logits"] = {result.logits_shape, result.logits};
  const auto put = [&](const std::string& prefix, const std::map<std::string, std::vector<float>>& values) {
    for (const auto& [name, value] : values) tensors[prefix + name] = {golden.weights.at(name).shape, value};
  };
  put("grad.", result.gradients);
  put("trained.", result.trained);
  const auto numbers = [](const std::vector<double>& values) {
    return SafetensorsValue{{static_cast<int64_t>(values.size())}, {values.begin(), values.end()}};
  };
  tensors["losses"] = numbers(result.losses);
  tensors["grad_norms"] = numbers(result.grad_norms);
  write_safetensors(path, tensors);
}

bool run_case(const std::string& folder, const Settings& settings, const Device& device, MpiWorld& world) {
  const GoldenCase golden = read_golden_case(folder);
  const ModelConfig& model = golden.model;
  const Layout layout = resolve_layout(settings.asked, world.size(),
                                       {.replicas = model.parscale_n,
                                        .heads = model.num_attention_heads,
                                        .kv_heads = model.num_key_value_heads,
                                        .intermediate = model.intermediate_size});
  const std::unique_ptr<Mesh> mesh = make_mesh(world, layout);
  const ParityResult result = run_golden_case(golden, device, *mesh, settings.parity);
  if (world.rank() != 0) return true;
  bool passed = true;
  std::cout << folder << ", layout " << to_string(layout) << " (data x replica x tensor), " << name_of(settings.parity.dtype)
            << "\n";
  for (const ParityError& e : compare(golden, result, settings.parity.dtype)) {
    passed &= e.passed();
    std::cout << "  " << (e.passed() ? "ok    " : "FAILED") << "  " << std::left << std::setw(52) << e.what << std::right
              << std::setw(12) << e.error << "  of " << e.allowed << (e.where.empty() ? "" : "  at " + e.where) << "\n";
  }
  std::cout << std::flush;
  if (!settings.out.empty()) write_result(settings.out, golden, result);
  return passed;
}

int run(int argc, char** argv) {
  Settings settings;
  std::string dtype, recompute, isa;
  options::options_description visible("Options");
  visible.add_options()
      ("tensor", options::value(&settings.asked.tensor)->default_value(1), "tensor ranks")
      ("replica", options::value(&settings.asked.replica)->default_value(0), "replica ranks; 0: as many as fit")
      ("data", options::value(&settings.asked.data)->default_value(0), "data ranks; 0: what is left")
      ("accumulate", options::value(&settings.parity.accumulate)->default_value(1), "micro-batches of a step")
      ("recompute", options::value(&recompute)->default_value("none"), "none, attention or block")
      ("dtype", options::value(&dtype)->default_value("float32"), "float32, bfloat16 or float64")
      ("isa", options::value(&isa), "avx2 or avx512; default: the best of this processor")
      ("out", options::value(&settings.out), "write what was computed to this safetensors file (one CASE)");
  const auto given = parse_command_line("pscale_parity",
                                        "CASE...\n\nRuns golden cases, mpirun -np RANKS pscale_parity CASE..., and prints "
                                        "the largest errors; exit 1\nwhere one is above its tolerance.",
                                        visible, {argv + 1, argv + argc});
  if (!given) return kExitDone;
  settings.cases = given->words;
  std::vector<std::string> problems;
  if (settings.cases.empty()) problems.push_back("a golden case is missing: pscale_parity CASE...");
  if (settings.cases.size() > 1 && !settings.out.empty()) problems.push_back("--out takes the result of one CASE");
  if (settings.parity.accumulate < 1) problems.push_back("--accumulate must be at least 1");
  if (settings.asked.tensor < 1 || settings.asked.replica < 0 || settings.asked.data < 0)
    problems.push_back("--tensor must be at least 1, --replica and --data at least 0");
  if (!isa.empty() && isa != "avx2" && isa != "avx512") problems.push_back(cat("--isa ", isa, ": avx2 or avx512 is needed"));
  if (!problems.empty()) throw UserError(problems);
  settings.parity.dtype = dtype_named(dtype);
  settings.parity.recompute = recompute_named(recompute);

  MpiWorld world(argc, argv);
  set_threads(0, world.ranks_on_node());
  const Device device = isa.empty() ? Device::cpu() : Device::cpu(isa == "avx2" ? Isa::avx2 : Isa::avx512);
  bool passed = true;
  for (const std::string& folder : settings.cases) passed &= run_case(folder, settings, device, world);
  return passed ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program([&] { return run(argc, argv); });
}
