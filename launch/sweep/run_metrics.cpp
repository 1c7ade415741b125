#include "launch/sweep/run_metrics.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

namespace pscale {
namespace {

MetricNumber number(const nlohmann::json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || !found->is_number()) return {};
  // The trainer writes with the same library, so this gives its digits again.
  return {found->get<double>(), found->dump()};
}

}  // namespace

std::vector<RunRow> read_metrics(const std::filesystem::path& folder) {
  std::ifstream file(folder / "metrics.jsonl");
  std::vector<RunRow> rows;
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json row = nlohmann::json::parse(line, nullptr, false);
    if (!row.is_object() || !row.contains("step") || !row["step"].is_number_integer()) continue;
    rows.push_back({row["step"].get<int64_t>(), number(row, "time"), number(row, "tokens"),
                    number(row, "loss"), number(row, "validation_loss"), number(row, "grad_norm"),
                    number(row, "learning_rate"), number(row, "step_seconds"),
                    number(row, "tokens_per_second")});
  }
  return rows;
}

MetricNumber last_known(const std::vector<RunRow>& rows, MetricNumber RunRow::*metric) {
  for (auto row = rows.rbegin(); row != rows.rend(); ++row)
    if (((*row).*metric).known()) return (*row).*metric;
  return {};
}

}  // namespace pscale
