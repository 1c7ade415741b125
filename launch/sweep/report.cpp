#include "launch/sweep/report.h"

#include <algorithm>

#include "core/base/durable_file.h"
#include "core/base/text.h"

namespace pscale {
namespace {

/// A field of a CSV as RFC 4180 wants it.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

Verdict judge(const std::vector<ReportRun>& runs) {
  Verdict verdict;
  const auto done = [](const ReportRun& run) {
    return run.status.state == RunState::done && run.status.other_values.empty();
  };
  verdict.among_done = std::any_of(runs.begin(), runs.end(), done);
  const auto counts = [&](const ReportRun& run) {
    return (!verdict.among_done || done(run)) && run.status.other_values.empty() && !run.rows.empty();
  };
  const bool validated = std::any_of(runs.begin(), runs.end(), counts) &&
                         std::all_of(runs.begin(), runs.end(), [&](const ReportRun& run) {
                           return !counts(run) || last_known(run.rows, &RunRow::validation_loss).known();
                         });
  if (validated) verdict.metric = &RunRow::validation_loss;
  verdict.name = validated ? "last validation loss" : "last loss";
  for (size_t i = 0; i < runs.size(); ++i) {
    const MetricNumber mine = last_known(runs[i].rows, verdict.metric);
    if (!counts(runs[i]) || !mine.known()) continue;
    if (!verdict.best || mine.value < last_known(runs[*verdict.best].rows, verdict.metric).value)
      verdict.best = i;
  }
  return verdict;
}

std::string report_csv(const std::vector<ReportRun>& runs) {
  std::vector<std::string> header{"index", "run", "variant"};
  if (!runs.empty())
    for (const auto& [key, value] : runs[0].run.swept) header.push_back(csv_field(key));
  for (const char* name : {"state", "reason", "other_values", "step", "max_steps", "loss", "validation_loss",
                           "grad_norm", "tokens", "tokens_per_second", "folder"})
    header.push_back(name);
  std::string text = join(header, ",") + "\n";
  for (const ReportRun& r : runs) {
    std::vector<std::string> fields{cat(r.run.index), csv_field(r.run.name), csv_field(r.run.variant)};
    for (const auto& [key, value] : r.run.swept) {
      const auto* word = std::get_if<std::string>(&value.data);
      fields.push_back(csv_field(word ? *word : value.text()));
    }
    fields.push_back(to_string(r.status.state));
    fields.push_back(csv_field(r.status.reason));
    fields.push_back(csv_field(r.status.other_values));
    fields.push_back(cat(r.status.step));
    fields.push_back(cat(r.status.max_steps));
    for (const auto metric : {&RunRow::loss, &RunRow::validation_loss, &RunRow::grad_norm, &RunRow::tokens,
                              &RunRow::tokens_per_second})
      fields.push_back(last_known(r.rows, metric).text);
    fields.push_back(csv_field(r.run.folder().string()));
    text += join(fields, ",") + "\n";
  }
  return text;
}

std::vector<std::filesystem::path> write_report(const Sweep& sweep, const std::vector<ReportRun>& runs,
                                                const std::vector<DroppedPoint>& dropped,
                                                const std::filesystem::path& folder) {
  make_folder_durably(folder);
  write_file_durably(folder / "report.html", report_html(sweep, runs, dropped));
  write_file_durably(folder / "report.csv", report_csv(runs));
  return {folder / "report.html", folder / "report.csv"};
}

}  // namespace pscale
