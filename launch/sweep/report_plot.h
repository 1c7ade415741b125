// Plots of a report as SVG text: axes, ticks, curves. Every point carries its numbers, so the page can be
// checked against the metrics.
#pragma once

#include <string>
#include <vector>

namespace pscale {

struct PlotPoint {
  double x = 0, y = 0;
  std::string x_text, y_text;  ///< as the metrics have them
};

struct PlotSeries {
  std::string name;    ///< shown where the pointer rests
  size_t color = 0;    ///< which of the report's colours; series of one colour differ in their dashes
  bool marks = false;  ///< a mark at each point
  bool line = true;
  std::vector<PlotPoint> points;
};

struct Plot {
  std::string id, title, x_label, y_label;
  std::vector<std::string> categories;  ///< x is an index into them; empty: x is a number
  std::vector<PlotSeries> series;
};

/// Width of a plot's drawing area and its borders, in SVG units: y grows downwards from `top`.
struct PlotFrame {
  double left = 64, right = 24, top = 28, bottom = 44, width = 500, height = 300;
};

/// One <svg>. Points that are not finite are left out. A plot without points says so.
std::string to_svg(const Plot& plot);

/// Colour and dashes of a series, as CSS.
std::string series_color(size_t index);
std::string series_dashes(size_t index);

/// Text for HTML and SVG: & < > and quotes are written as entities.
std::string html_escaped(const std::string& text);

}  // namespace pscale
