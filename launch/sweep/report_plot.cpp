#include "launch/sweep/report_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iomanip>
#include <limits>
#include <sstream>

#include "core/base/text.h"

namespace pscale {
namespace {

// Paul Tol's "bright" and "vibrant", which colour-blind people can tell apart.
constexpr std::array<const char*, 8> kColors{"#4477aa", "#ee6677", "#228833", "#aa3377",
                                             "#ccbb44", "#66ccee", "#ee7733", "#555555"};
constexpr std::array<const char*, 4> kDashes{"", "6 3", "2 3", "8 3 2 3"};

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void take(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  /// Room on both sides, also where all values are one.
  void widen(double part) {
    const double more = high > low ? (high - low) * part : std::max(std::abs(high), 1.0) * part;
    low -= more;
    high += more;
  }
};

/// Round numbers within a range: 1, 2 or 5 times a power of ten apart.
std::vector<double> ticks(const Range& range, int about) {
  const double raw = (range.high - range.low) / about, power = std::pow(10, std::floor(std::log10(raw)));
  double apart = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= raw) {
      apart = factor * power;
      break;
    }
  std::vector<double> at;
  for (double k = std::ceil(range.low / apart); k * apart <= range.high; ++k) at.push_back(k * apart);
  return at;
}

std::string pixels(double value) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(2) << value;
  return out.str();
}

std::string tick_text(double value) {
  std::ostringstream out;
  out << std::setprecision(6) << (std::abs(value) < 1e-12 ? 0 : value);
  return out.str();
}

std::string text(double x, double y, const std::string& what, const char* anchor, const char* more = "") {
  return cat("<text x=\"", pixels(x), "\" y=\"", pixels(y), "\" text-anchor=\"", anchor, "\"", more, ">",
             html_escaped(what), "</text>\n");
}

bool drawable(const PlotPoint& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

std::string series_svg(const PlotSeries& series, const auto& x_at, const auto& y_at) {
  std::vector<std::string> places, xs, ys;
  std::string marks;
  for (const PlotPoint& point : series.points) {
    if (!drawable(point)) continue;
    const std::string x = pixels(x_at(point.x)), y = pixels(y_at(point.y));
    places.push_back(cat(x, ",", y));
    xs.push_back(point.x_text);
    ys.push_back(point.y_text);
    if (series.marks)
      marks += cat("<circle cx=\"", x, "\" cy=\"", y, "\" r=\"4\" fill=\"", series_color(series.color),
                   "\" data-run=\"", html_escaped(series.name), "\" data-x=\"", html_escaped(point.x_text),
                   "\" data-y=\"", html_escaped(point.y_text), "\"><title>",
                   html_escaped(cat(series.name, ": ", point.y_text)), "</title></circle>\n");
  }
  if (places.empty()) return "";
  if (!series.line) return marks;
  return cat("<polyline fill=\"none\" stroke=\"", series_color(series.color), "\" stroke-dasharray=\"",
             series_dashes(series.color), "\" data-run=\"", html_escaped(series.name), "\" data-x=\"",
             html_escaped(join(xs, " ")), "\" data-y=\"", join(ys, " "), "\" points=\"", join(places, " "),
             "\"><title>", html_escaped(series.name), "</title></polyline>\n", marks);
}

}  // namespace

std::string series_color(size_t index) { return kColors[index % kColors.size()]; }
std::string series_dashes(size_t index) { return kDashes[index / kColors.size() % kDashes.size()]; }

std::string html_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string to_svg(const Plot& plot) {
  const PlotFrame frame;
  const double wide = frame.left + frame.width + frame.right, high = frame.top + frame.height + frame.bottom;
  const double floor = frame.top + frame.height;
  std::string out =
      cat("<svg id=\"", plot.id, "\" class=\"plot\" viewBox=\"0 0 ", wide, " ", high, "\" width=\"", wide,
          "\" height=\"", high, "\" role=\"img\" aria-label=\"", html_escaped(plot.title), "\">\n");
  out += text(frame.left, 16, plot.title, "start", " class=\"title\"");
  Range x, y;
  for (const PlotSeries& series : plot.series)
    for (const PlotPoint& point : series.points)
      if (drawable(point)) {
        x.take(point.x);
        y.take(point.y);
      }
  if (!std::isfinite(y.low))
    return out + text(frame.left + frame.width / 2, frame.top + frame.height / 2, "no values yet", "middle") +
           "</svg>\n";
  y.widen(0.05);
  if (plot.categories.empty()) {
    if (x.high == x.low) x.widen(0.05);
  } else {
    x = {-0.5, static_cast<double>(plot.categories.size()) - 0.5};
  }
  const auto x_at = [&](double value) {
    return frame.left + (value - x.low) / (x.high - x.low) * frame.width;
  };
  const auto y_at = [&](double value) { return floor - (value - y.low) / (y.high - y.low) * frame.height; };
  // The frame in numbers, for whoever wants to read values off the picture.
  out.insert(out.find('>'), cat(std::setprecision(17), " data-x-low=\"", x.low, "\" data-x-high=\"", x.high,
                                "\" data-y-low=\"", y.low, "\" data-y-high=\"", y.high, "\""));

  for (const double value : ticks(y, 6)) {
    const std::string at = pixels(y_at(value));
    out += cat("<line class=\"grid\" x1=\"", frame.left, "\" x2=\"", frame.left + frame.width, "\" y1=\"", at,
               "\" y2=\"", at, "\"/>\n");
    out += text(frame.left - 6, y_at(value) + 4, tick_text(value), "end");
  }
  if (plot.categories.empty()) {
    for (const double value : ticks(x, 8)) out += text(x_at(value), floor + 16, tick_text(value), "middle");
  } else {
    for (size_t k = 0; k < plot.categories.size(); ++k)
      out += text(x_at(static_cast<double>(k)), floor + 16, plot.categories[k], "middle");
  }
  out += cat("<path class=\"axis\" d=\"M", frame.left, " ", frame.top, "V", floor, "H",
             frame.left + frame.width, "\"/>\n");
  out += text(frame.left + frame.width / 2, high - 8, plot.x_label, "middle");
  out += text(0, 0, plot.y_label, "middle",
              cat(" transform=\"translate(14 ", frame.top + frame.height / 2, ") rotate(-90)\"").c_str());
  for (const PlotSeries& series : plot.series) out += series_svg(series, x_at, y_at);
  return out + "</svg>\n";
}

}  // namespace pscale
