// The report of a sweep: report.html, one page that needs nothing else, and report.csv. Every number in them
// has the characters it has in metrics.jsonl.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launch/sweep/run_metrics.h"
#include "launch/sweep/run_status.h"
#include "launch/sweep/sweep_points.h"

namespace pscale {

struct ReportRun {
  SweepRun run;
  RunStatus status;
  std::vector<RunRow> rows;
};

/// What runs are judged by: the last validation loss where every run that is done has one, else the last
/// loss. Runs of other values than the sweep's do not count.
struct Verdict {
  MetricNumber RunRow::*metric = &RunRow::loss;
  std::string name;            ///< "last validation loss"
  std::optional<size_t> best;  ///< the lowest among the runs that are done, or among all where none is
  bool among_done = false;
};
Verdict judge(const std::vector<ReportRun>& runs);

/// Writes both files into `folder` and returns their paths. Throws UserError naming what cannot be written.
std::vector<std::filesystem::path> write_report(const Sweep& sweep, const std::vector<ReportRun>& runs,
                                                const std::vector<DroppedPoint>& dropped,
                                                const std::filesystem::path& folder);

std::string report_csv(const std::vector<ReportRun>& runs);
std::string report_html(const Sweep& sweep, const std::vector<ReportRun>& runs,
                        const std::vector<DroppedPoint>& dropped);

}  // namespace pscale
