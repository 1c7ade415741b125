// pscale_bench step CONFIG [section.key=value ...] [--steps N]: one JSON line with the keys of launch/bench/torch_parscale.py.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/base/random.h"
#include "launch/bench/checkpoint.h"
#include "launch/command_line.h"
#include "launch/program.h"
#include "launch/session.h"
#include "launch/train/trainer.h"

namespace {

namespace options = boost::program_options;
using namespace pscale;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Random tokens, as in the PyTorch program: this rank's micro-batches of a step.
std::vector<Batch> random_batches(const Config& config, const BatchPlan& plan, int64_t step, const Device& device) {
  const RandomStream random(static_cast<uint64_t>(config.run.seed), "bench tokens");
  const int64_t width = plan.length + 1;
  std::vector<int32_t> tokens(static_cast<size_t>(plan.micro_batch * width));
  std::vector<Batch> batches;
  for (int64_t micro = 0; micro < plan.accumulate(); ++micro) {
    const uint64_t first = plan.first_sample(step, micro) * static_cast<uint64_t>(width);
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = static_cast<int32_t>(random.bits(first + i) % static_cast<uint64_t>(config.model.vocab_size));
    batches.push_back(make_batch(device, tokens, {}, plan.micro_batch, plan.length, plan.multiple));
  }
  return batches;
}

int step(const Config& config, int64_t steps, int argc, char** argv) {
  MpiWorld world(argc, argv);
  Session session(config, world);
  const Layout& layout = session.layout();
  Training training(session.device(), session.mesh(), config.model, training_options(config));
  training.initialize(static_cast<uint64_t>(config.run.seed));
  BatchPlan plan{.global_batch = config.train.global_batch,
                 .micro_batch = config.train.micro_batch,
                 .data_ranks = layout.data,
                 .data_rank = session.mesh().coordinates().data,
                 .length = config.train.sequence_length,
                 .multiple = training.model().token_multiple()};
  const int64_t targets = plan.global_batch * plan.length;
  std::vector<double> seconds;
  double loss = 0;
  for (int64_t i = 0; i < steps + 2; ++i) {
    const std::vector<Batch> batches = random_batches(config, plan, i, session.device());
    session.mesh().group(AxisSet::all()).barrier();
    const double start = now();
    loss = training.step(batches, targets, config.optimizer.learning_rate).loss;
    session.device().synchronize();
    if (i >= 2) seconds.push_back(now() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  const size_t middle = seconds.size() / 2;
  const double median = seconds.size() % 2 ? seconds[middle] : (seconds[middle - 1] + seconds[middle]) / 2;
  const double rate = static_cast<double>(targets) / median;
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  const CachingAllocator& memory = session.device().allocator();
  double peaks[3] = {static_cast<double>(usage.ru_maxrss) / 1024,
                     static_cast<double>(memory.stats().peak + session.mesh().communication_bytes()) / (1 << 20),
                     static_cast<double>(memory.stats(MemoryKind::activations).peak) / (1 << 20)};
  session.mesh().group(AxisSet::all()).all_reduce(peaks, 3, DType::float64, Reduction::max, Purpose{"report"}).wait();
  if (world.rank() == 0) {
    const auto tenth = [](double x) { return std::round(x * 10) / 10; };
    std::cout << nlohmann::ordered_json{
                     {"seconds_per_step", median},
                     {"tokens_per_second", tenth(rate)},
                     {"model_gflops", tenth(rate * model_flops_per_token(config.model, plan.length) / 1e9)},
                     {"peak_memory_mib", std::round(peaks[0])},
                     {"allocator_peak_mib", tenth(peaks[1])},
                     {"activations_peak_mib", tenth(peaks[2])},
                     {"world", layout.world()},
                     {"parallel", to_string(layout)},
                     {"dtype", config.train.dtype},
                     {"device", session.device().name()},
                     {"loss", loss}}
              << "\n";
  }
  return 0;
}

/// Medians of the rounds, and of each round's ratio to plain files.
int checkpoint(const Config& config, int64_t rounds, const std::string& folder, int argc, char** argv) {
  MpiWorld world(argc, argv);
  Session session(config, world);
  Training training(session.device(), session.mesh(), config.model, training_options(config));
  training.initialize(static_cast<uint64_t>(config.run.seed));
  std::vector<double> save, load, save_ratio, load_ratio;
  double bytes = 0;
  for (int64_t i = 0; i < rounds; ++i) {
    const CheckpointTimes times = time_checkpoint(training, session.mesh(), folder);
    bytes = times.bytes;
    save.push_back(times.save);
    load.push_back(times.load);
    save_ratio.push_back(times.plain_write / times.save);
    load_ratio.push_back(times.plain_read / times.load);
  }
  const auto median = [](std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
    return values[values.size() / 2];
  };
  if (world.rank() == 0)
    std::cout << nlohmann::ordered_json{{"checkpoint_mib", std::round(bytes / (1 << 20))},
                                        {"save_mib_per_second", std::round(bytes / (1 << 20) / median(save))},
                                        {"load_mib_per_second", std::round(bytes / (1 << 20) / median(load))},
                                        {"save_over_plain_files", std::round(100 * median(save_ratio)) / 100},
                                        {"load_over_plain_files", std::round(100 * median(load_ratio)) / 100},
                                        {"rounds", rounds},
                                        {"parallel", to_string(session.layout())}}
              << "\n";
  return kExitDone;
}

int run(int argc, char** argv) {
  options::options_description visible("Options");
  visible.add_options()("steps", options::value<int64_t>()->default_value(6), "step: measured steps, after two that are not")(
      "rounds", options::value<int64_t>()->default_value(5), "checkpoint: times that it is saved and loaded")(
      "folder", options::value<std::string>()->default_value("."), "checkpoint: where to write; all is removed");
  const auto given = parse_command_line("pscale_bench",
                                        "step | checkpoint CONFIG.toml [section.key=value ...]\n\n"
                                        "step: whole training steps on random tokens.\n"
                                        "checkpoint: saving and loading, held against plain files with the same bytes.\n"
                                        "Prints one JSON line.",
                                        visible, {argv + 1, argv + argc});
  if (!given) return kExitDone;
  const std::string what = given->words.size() < 2 ? "" : given->words[0];
  if (what != "step" && what != "checkpoint")
    throw UserError("usage: pscale_bench step | checkpoint CONFIG.toml [section.key=value ...]");
  const int64_t steps = given->get<int64_t>("steps"), rounds = given->get<int64_t>("rounds");
  if (steps < 1) throw UserError("--steps must be at least 1");
  if (rounds < 1) throw UserError("--rounds must be at least 1");
  const Config config = load_config(given->words[1], {given->words.begin() + 2, given->words.end()});
  if (what == "step") return step(config, steps, argc, argv);
  return checkpoint(config, rounds, given->get<std::string>("folder"), argc, argv);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program([&] { return run(argc, argv); });
}
