// write_run_log FOLDER FIRST LAST: logs made-up steps FIRST .. LAST there, as training would, and prints one
// JSON object: TensorBoard's tag of every key of metrics.jsonl that has one. Odd doubles and unknown values
// are among the rows.
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>

#include "launch/metrics/run_log.h"

namespace {

pscale::MetricsRow made_up_row(int64_t step) {
  const auto x = static_cast<double>(step);
  pscale::MetricsRow row;
  row.step = step;
  row.time = 1.7e9 + x / 3;
  row.tokens = step * 262144;
  row.loss = 5.5 / std::sqrt(x) + 0.1;
  row.grad_norm = step == 3 ? std::numeric_limits<double>::infinity() : 1 / x;
  row.learning_rate = 3e-4 * x / 7;
  row.step_seconds = 0.125;
  row.tokens_per_second = 262144 / 0.125;
  row.model_flops_per_second = 1.5e18 / x;
  row.memory_peak_bytes = (int64_t{1} << 33) + step;
  if (step % 4 == 0) row.validation_loss = row.loss + 0.01;
  row.replica_share_entropy = std::log(4.0) - 1e-9 * x;
  row.replica_cosine = -1e-300 * x;
  return row;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int64_t first = std::atoll(argv[2]), last = std::atoll(argv[3]);
  pscale::RunLog log({.folder = argv[1], .tensorboard = true, .max_steps = last, .console = {}});
  log.message("made-up run");
  for (int64_t step = first; step <= last; ++step) log.step(made_up_row(step), true);

  pscale::MetricsRow full = made_up_row(4);
  nlohmann::json tags;
  for (const auto& field : pscale::metric_fields(full))
    if (!field.tag.empty()) tags[field.name] = field.tag;
  std::cout << tags.dump() << '\n';
}
