// The numbers of a run as its metrics.jsonl has them, digit by digit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace pscale {

/// A number and its characters in the file; empty where the row has none, or null.
struct MetricNumber {
  double value = 0;
  std::string text;
  bool known() const { return !text.empty(); }
};

struct RunRow {
  int64_t step = 0;
  MetricNumber time, tokens, loss, validation_loss, grad_norm, learning_rate, step_seconds, tokens_per_second;
};

/// The rows in the order of their steps. A torn last line, as of a run that writes it now, is left out; no
/// file is no rows.
std::vector<RunRow> read_metrics(const std::filesystem::path& folder);

/// The last value that is known, or an unknown one.
MetricNumber last_known(const std::vector<RunRow>& rows, MetricNumber RunRow::*metric);

}  // namespace pscale
