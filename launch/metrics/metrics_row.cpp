#include "launch/metrics/metrics_row.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace pscale {
namespace {

MetricValue value_of(double x) { return std::isfinite(x) ? MetricValue(x) : MetricValue(); }
MetricValue value_of(int64_t x) { return x; }
MetricValue value_of(const std::string& x) { return x; }

template <class T>
MetricValue value_of(const std::optional<T>& x) {
  return x ? value_of(*x) : MetricValue();
}

}  // namespace

std::vector<MetricField> metric_fields(const MetricsRow& row) {
  std::vector<MetricField> fields;
  const auto always = [&](const std::string& name, const std::string& tag, const auto& value) {
    fields.push_back({name, tag, value_of(value)});
  };
  const auto where_set = [&](const std::string& name, const std::string& tag, const auto& value) {
    if (value) always(name, tag, value);
  };
  always("step", "", row.step);
  always("time", "", row.time);
  always("tokens", "train/tokens", row.tokens);
  always("loss", "train/loss", row.loss);
  always("grad_norm", "train/grad_norm", row.grad_norm);
  always("learning_rate", "train/learning_rate", row.learning_rate);
  always("step_seconds", "speed/step_seconds", row.step_seconds);
  always("tokens_per_second", "speed/tokens_per_second", row.tokens_per_second);
  always("model_flops_per_second", "speed/model_flops_per_second", row.model_flops_per_second);
  always("mfu", "speed/mfu", row.mfu);
  always("memory_peak_bytes", "memory/peak_bytes", row.memory_peak_bytes);
  where_set("validation_loss", "validation/loss", row.validation_loss);
  for (const auto& [source, loss] : row.validation_losses)
    always("validation_loss/" + source, "validation/loss/" + source, loss);
  where_set("replica_share_entropy", "replicas/share_entropy", row.replica_share_entropy);
  where_set("replica_cosine", "replicas/cosine", row.replica_cosine);
  where_set("data_wait_seconds", "speed/data_wait_seconds", row.data_wait_seconds);
  where_set("communication_wait_seconds", "speed/communication_wait_seconds", row.communication_wait_seconds);
  where_set("rank_seconds_median", "speed/rank_seconds_median", row.rank_seconds_median);
  where_set("rank_seconds_slowest", "speed/rank_seconds_slowest", row.rank_seconds_slowest);
  where_set("slowest_rank", "speed/slowest_rank", row.slowest_rank);
  where_set("waited_axes", "", row.waited_axes);
  where_set("waited_axes_seconds", "speed/waited_axes_seconds", row.waited_axes_seconds);
  where_set("skipped_steps", "train/skipped_steps", row.skipped_steps);
  return fields;
}

std::string to_json_line(const MetricsRow& row) {
  nlohmann::ordered_json object;
  for (const MetricField& field : metric_fields(row)) {
    auto& slot = object[field.name];  // null until set
    if (const auto* count = std::get_if<int64_t>(&field.value)) slot = *count;
    if (const auto* number = std::get_if<double>(&field.value)) slot = *number;
    if (const auto* name = std::get_if<std::string>(&field.value)) slot = *name;
  }
  return object.dump();
}

}  // namespace pscale
