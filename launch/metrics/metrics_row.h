// What the trainer knows about a logged step: one row of metrics.jsonl, one point of each TensorBoard chart,
// one line of the log. The names are a contract with everything that reads a run folder. `metric_fields` is
// the only list of them; the writers walk it. Plain data, no MPI: rank 0 fills it with values of the whole
// run.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace pscale {

/// A value nobody knows: null in metrics.jsonl, left out of TensorBoard and of the progress line.
inline constexpr double unknown_metric = std::numeric_limits<double>::quiet_NaN();

struct MetricsRow {
  int64_t step = 0;    ///< 1, 2, ...
  double time = 0;     ///< seconds since 1970, wall clock, when the step ended
  int64_t tokens = 0;  ///< tokens trained on since the run began, all ranks

  double loss = unknown_metric;       ///< nats per counted target, mean over this step's global batch
  double grad_norm = unknown_metric;  ///< global, before clipping
  double learning_rate = unknown_metric;

  double step_seconds = unknown_metric;  ///< mean over the steps since the last logged one
  double tokens_per_second = unknown_metric;
  double model_flops_per_second = unknown_metric;  ///< all ranks
  double mfu = unknown_metric;                     ///< model FLOP/s divided by the peak, 0 to 1
  std::optional<int64_t> memory_peak_bytes;        ///< largest over the ranks

  // Written only where they are set.
  std::optional<double> validation_loss;  ///< of several sources: by their weights in the blend
  std::vector<std::pair<std::string, double>> validation_losses;  ///< of each source, where there are several
  std::optional<double>
      replica_share_entropy;                ///< nats, entropy of the blend; ln P when all streams count alike
  std::optional<double> replica_cosine;     ///< mean cosine between the streams before the blend
  std::optional<double> data_wait_seconds;  ///< mean per step, waiting for samples
  std::optional<double> communication_wait_seconds;  ///< mean per step, waiting for collectives on this rank
  // Of several ranks: see launch/train/stragglers.h.
  std::optional<double> rank_seconds_median;   ///< a step, over the ranks, without what they waited for others
  std::optional<double> rank_seconds_slowest;  ///< of the slowest rank
  std::optional<int64_t> slowest_rank;
  std::optional<std::string> waited_axes;     ///< over which ranks waited longest
  std::optional<double> waited_axes_seconds;  ///< a step, mean over the ranks
  std::optional<int64_t>
      skipped_steps;  ///< updates skipped so far because of a NaN or infinite loss or gradient, or a loss spike
};

/// Nothing (unknown), a count, a finite number, or a name.
using MetricValue = std::variant<std::monostate, int64_t, double, std::string>;

struct MetricField {
  std::string name;  ///< key in metrics.jsonl
  std::string tag;   ///< TensorBoard's chart, empty where the field gets none
  MetricValue value;
};

/// The fields of a row in the order of metrics.jsonl. NaN and infinity come as nothing.
std::vector<MetricField> metric_fields(const MetricsRow& row);

/// One JSON object without the line break. Numbers have the shortest digits that give the same double again.
std::string to_json_line(const MetricsRow& row);

}  // namespace pscale
