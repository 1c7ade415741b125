#include <algorithm>
#include <map>

#include "core/base/text.h"
#include "launch/metrics/format.h"
#include "launch/metrics/run_log.h"
#include "launch/sweep/report.h"
#include "launch/sweep/report_plot.h"
#include "launch/sweep/run_name.h"

namespace pscale {
namespace {

const char* const kStyle = R"(
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 84em; padding: 0 1em; color: #222; background: #fff }
h1 { font-size: 1.5em; margin-bottom: 0 } h2 { font-size: 1.15em; margin-top: 2em }
.plots { display: flex; flex-wrap: wrap; gap: 1em } svg.plot { max-width: 100%; height: auto }
svg text { font: 12px system-ui, sans-serif; fill: #333 } svg .title { font-weight: 600; font-size: 13px }
svg .grid { stroke: #e4e4e4 } svg .axis { fill: none; stroke: #666 } svg polyline { stroke-width: 1.6 } svg polyline:hover { stroke-width: 4 }
table { border-collapse: collapse; font-size: .92em } th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums } tr.best { background: #eaf4e6 } .scroll { overflow-x: auto }
.legend { display: flex; flex-wrap: wrap; gap: .2em 1.4em; font-size: .9em } .legend svg { vertical-align: middle }
.failed, .other { color: #a11 } .running { color: #15659b } .waiting { color: #777 }
)";

std::string last_part(const std::string& key) { return key.substr(key.rfind('.') + 1); }

/// Rows of one metric from a step on, as a curve.
std::vector<PlotPoint> curve(const std::vector<RunRow>& rows, MetricNumber RunRow::*metric, int64_t from) {
  std::vector<PlotPoint> points;
  for (const RunRow& row : rows)
    if ((row.*metric).known() && row.step >= from)
      points.push_back(
          {static_cast<double>(row.step), (row.*metric).value, cat(row.step), (row.*metric).text});
  return points;
}

Plot curves(const std::vector<ReportRun>& runs, MetricNumber RunRow::*metric, const std::string& id,
            const std::string& title, int64_t from) {
  Plot plot{id, title, "step", "nats a token", {}, {}};
  for (const ReportRun& r : runs)
    plot.series.push_back(
        {r.run.name, static_cast<size_t>(r.run.index), false, true, curve(r.rows, metric, from)});
  return plot;
}

/// The last loss of each run over one swept key (or the variant), less those of other values; runs that
/// differ in that alone are joined.
Plot against(const std::vector<ReportRun>& runs, size_t axis, bool variants, const Verdict& verdict) {
  const std::string key = variants ? "variant" : runs[0].run.swept[axis].first;
  Plot plot{
      cat("against-", key), cat(verdict.name, " against ", key), last_part(key), "nats a token", {}, {}};
  const auto value = [&](const ReportRun& r) {
    return variants ? r.run.variant : name_of_value(r.run.swept[axis].second);
  };
  // A number's place on the axis is by its size, any other's by the file.
  std::vector<std::pair<double, std::string>> places;
  for (const ReportRun& r : runs) {
    double order = static_cast<double>(places.size());
    if (!variants) {
      const ConfigValue& swept = r.run.swept[axis].second;
      if (const auto* whole = std::get_if<int64_t>(&swept.data)) order = static_cast<double>(*whole);
      if (const auto* real = std::get_if<double>(&swept.data)) order = *real;
    }
    const std::string name = value(r);
    if (std::none_of(places.begin(), places.end(), [&](const auto& p) { return p.second == name; }))
      places.emplace_back(order, name);
  }
  std::stable_sort(places.begin(), places.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [order, name] : places) plot.categories.push_back(name);

  std::map<std::string, PlotSeries> joined;
  for (const ReportRun& r : runs) {
    const MetricNumber last = last_known(r.rows, verdict.metric);
    if (!last.known() || !r.status.other_values.empty()) continue;
    std::vector<std::string> others;
    if (!variants && !r.run.variant.empty()) others.push_back(r.run.variant);
    for (size_t k = 0; k < r.run.swept.size(); ++k)
      if (variants || k != axis)
        others.push_back(cat(last_part(r.run.swept[k].first), "=", name_of_value(r.run.swept[k].second)));
    const auto place =
        std::find(plot.categories.begin(), plot.categories.end(), value(r)) - plot.categories.begin();
    const PlotPoint point{static_cast<double>(place), last.value, value(r), last.text};
    const std::string name = others.empty() ? "all runs" : join(others, ",");
    PlotSeries& line =
        joined.try_emplace(name, PlotSeries{name, joined.size(), false, true, {}}).first->second;
    line.points.push_back(point);
    plot.series.push_back({r.run.name, static_cast<size_t>(r.run.index), true, false, {point}});
  }
  std::vector<PlotSeries> lines;
  for (auto& [name, line] : joined) {
    std::stable_sort(line.points.begin(), line.points.end(),
                     [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
    if (line.points.size() > 1) lines.push_back(std::move(line));
  }
  plot.series.insert(plot.series.begin(), lines.begin(), lines.end());
  return plot;
}

std::string legend(const std::vector<ReportRun>& runs) {
  std::string out = "<div class=\"legend\">\n";
  for (const ReportRun& r : runs) {
    const auto color = static_cast<size_t>(r.run.index);
    out +=
        cat("<span><svg width=\"30\" height=\"8\"><line x1=\"0\" x2=\"30\" y1=\"4\" y2=\"4\" "
            "stroke-width=\"3\" stroke=\"",
            series_color(color), "\" stroke-dasharray=\"", series_dashes(color), "\"/></svg> ", r.run.index,
            " ", html_escaped(r.run.name), "</span>\n");
  }
  return out + "</div>\n";
}

std::string table(const std::vector<ReportRun>& runs, const Verdict& verdict) {
  std::string out = "<div class=\"scroll\"><table id=\"runs\">\n<tr><th>run</th>";
  const bool variants = !runs[0].run.variant.empty();
  if (variants) out += "<th>variant</th>";
  for (const auto& [key, value] : runs[0].run.swept)
    out += cat("<th title=\"", html_escaped(key), "\">", html_escaped(last_part(key)), "</th>");
  out +=
      "<th>state</th><th>step</th><th>loss</th><th>validation loss</th><th>gradient "
      "norm</th><th>tokens</th><th>tokens a second</th></tr>\n";
  for (size_t i = 0; i < runs.size(); ++i) {
    const ReportRun& r = runs[i];
    out += cat("<tr data-run=\"", html_escaped(r.run.name), "\"", verdict.best == i ? " class=\"best\"" : "",
               "><td title=\"", html_escaped(r.run.name), "\">", r.run.index, "</td>");
    if (variants) out += cat("<td>", html_escaped(r.run.variant), "</td>");
    for (const auto& [key, value] : r.run.swept)
      out += cat("<td>", html_escaped(name_of_value(value)), "</td>");
    const std::string state = to_string(r.status.state);
    out += cat("<td class=\"", state, "\">", state,
               r.status.reason.empty() ? "" : cat(": ", html_escaped(r.status.reason)),
               r.status.seconds_left ? cat(", ", format_duration(*r.status.seconds_left), " left") : "",
               r.status.other_values.empty()
                   ? ""
                   : cat(" <span class=\"other\">with other values: ", html_escaped(r.status.other_values),
                         "</span>"),
               "</td>");
    out += cat("<td class=\"number\">", r.status.step, "/", r.status.max_steps, "</td>");
    const std::pair<const char*, MetricNumber RunRow::*> metrics[] = {
        {"loss", &RunRow::loss},
        {"validation_loss", &RunRow::validation_loss},
        {"grad_norm", &RunRow::grad_norm},
        {"tokens", &RunRow::tokens},
        {"tokens_per_second", &RunRow::tokens_per_second}};
    for (const auto& [name, metric] : metrics)
      out +=
          cat("<td class=\"number\" data-metric=\"", name, "\">", last_known(r.rows, metric).text, "</td>");
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

}  // namespace

std::string report_html(const Sweep& sweep, const std::vector<ReportRun>& runs,
                        const std::vector<DroppedPoint>& dropped) {
  const Verdict verdict = judge(runs);
  std::map<RunState, int> count;
  int64_t longest = 0;
  for (const ReportRun& r : runs) {
    ++count[r.status.state];
    longest = std::max(longest, r.status.step);
  }
  std::string out =
      cat("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
          "content=\"width=device-width\">\n",
          "<link rel=\"icon\" href=\"data:,\">\n<title>sweep ", html_escaped(sweep.name), "</title>\n<style>",
          kStyle, "</style>\n</head>\n<body>\n");
  out += cat("<h1>Sweep ", html_escaped(sweep.name), "</h1>\n<p>", runs.size(), " runs in ",
             html_escaped(sweep.dir.string()), ", ", format_time(wall_time()), ": ", count[RunState::done],
             " done, ", count[RunState::running], " running, ", count[RunState::failed], " failed, ",
             count[RunState::waiting], " waiting</p>\n");
  if (verdict.best) {
    const ReportRun& best = runs[*verdict.best];
    out += cat("<p id=\"best\">Best run", verdict.among_done ? "" : " so far", ": <b data-run=\"",
               html_escaped(best.run.name), "\">", best.run.index, " ", html_escaped(best.run.name), "</b>, ",
               verdict.name, " <b data-value>", last_known(best.rows, verdict.metric).text, "</b></p>\n");
  }
  out += "<h2>Runs</h2>\n" + table(runs, verdict);
  out += "<h2>Loss</h2>\n" + legend(runs) + "<div class=\"plots\">\n";
  out += to_svg(curves(runs, &RunRow::loss, "loss", "training loss", 0));
  out += to_svg(
      curves(runs, &RunRow::loss, "loss-late", "training loss, second half of the steps", longest / 2));
  out += to_svg(curves(runs, &RunRow::validation_loss, "validation-loss", "validation loss", 0));
  out += "</div>\n<h2>Last loss against what was swept</h2>\n<div class=\"plots\">\n";
  if (!runs[0].run.variant.empty()) out += to_svg(against(runs, 0, true, verdict));
  for (size_t axis = 0; axis < runs[0].run.swept.size(); ++axis)
    out += to_svg(against(runs, axis, false, verdict));
  out += "</div>\n";
  if (!dropped.empty()) {
    out += "<h2>Left out</h2>\n<ul>\n";
    for (const DroppedPoint& point : dropped)
      out += cat("<li>", html_escaped(point.name), ": ", html_escaped(point.because), "</li>\n");
    out += "</ul>\n";
  }
  std::vector<std::string> fixed;
  for (const Assignment& given : sweep.fixed) fixed.push_back(cat(given.key, " = ", given.value.text()));
  out += cat("<h2>The same in all runs</h2>\n<p>", html_escaped(sweep.base.string()), "</p>\n<pre>",
             html_escaped(join(fixed, "\n")), "</pre>\n</body>\n</html>\n");
  return out;
}

}  // namespace pscale
