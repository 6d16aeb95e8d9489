#include "launcher/chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "launcher/chart_scale.h"

namespace shardit {
namespace {

constexpr double kWidth = 600, kHeight = 260, kLeft = 54, kRight = 14, kTop = 22, kBottom = 26;
constexpr size_t kBuckets = 300;  // columns of a band: two pixels each

std::string number(double x) {
  char text[32];
  snprintf(text, sizeof text, "%.2f", x);
  std::string result = text;
  result.erase(result.find_last_not_of('0') + 1);
  if (result.back() == '.') result.pop_back();
  return result;
}

std::string text_at(double x, double y, const char* css, const std::string& text) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" class=\"" + css + "\">" + escape_html(text) + "</text>";
}

std::string line(double x1, double y1, double x2, double y2, const char* css) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" + number(y2) +
         "\" class=\"" + css + "\"/>";
}

std::vector<Point> finite(const std::vector<Point>& points) {
  std::vector<Point> result;
  for (const Point& p : points)
    if (std::isfinite(p.x) && std::isfinite(p.y)) result.push_back(p);
  return result;
}

struct Axes {
  Axis x, y;
};

std::string points_text(const std::vector<Point>& points, const Axes& axes) {
  std::string text;
  for (const Point& p : points) text += (text.empty() ? "" : " ") + number(axes.x(p.x)) + "," + number(axes.y(p.y));
  return text;
}

// The outline of least and greatest values of neighbouring points.
std::vector<Point> band_outline(const std::vector<Point>& points) {
  std::vector<Point> upper, lower;
  const size_t width = std::max<size_t>(1, points.size() / kBuckets);
  for (size_t i = 0; i < points.size(); i += width) {
    const auto begin = points.begin() + static_cast<long>(i);
    const auto end = points.begin() + static_cast<long>(std::min(points.size(), i + width));
    const auto [least, most] = std::minmax_element(begin, end, [](Point a, Point b) { return a.y < b.y; });
    upper.push_back({begin->x, most->y});
    lower.push_back({begin->x, least->y});
  }
  upper.insert(upper.end(), lower.rbegin(), lower.rend());
  return upper;
}

// A band is filled between its extremes; where every point has its own column, it is a faint line.
std::string draw_band(const Series& series, const Axes& axes) {
  const bool line_only = series.points.size() <= kBuckets;
  const std::string shape = line_only ? "polyline" : "polygon";
  const auto outline = line_only ? series.points : band_outline(series.points);
  return "<" + shape + " class=\"" + (line_only ? "faint" : "band") + " s" + std::to_string(series.style) +
         "\" points=\"" + points_text(outline, axes) + "\"/>";
}

std::string data_attribute(const std::vector<Point>& points) {
  std::string text;
  char pair[64];
  for (const Point& p : points) {
    snprintf(pair, sizeof pair, "%.8g,%.5g", p.x, p.y);
    text += (text.empty() ? "" : " ") + std::string(pair);
  }
  return text;
}

std::string draw_line(const Series& series, const Axes& axes) {
  const std::string style = " s" + std::to_string(series.style);
  const auto points = thin(series.points, 2 * kBuckets);
  std::string svg = "<polyline class=\"line" + style + "\" data-name=\"" + escape_html(series.name) +
                    "\" data-points=\"" + data_attribute(points) + "\" points=\"" + points_text(points, axes) + "\"/>";
  if (series.look != Series::kDots && points.size() > 1) return svg;
  for (const Point& p : points)
    svg += "<circle class=\"dot" + style + "\" cx=\"" + number(axes.x(p.x)) + "\" cy=\"" + number(axes.y(p.y)) +
           "\" r=\"3\"/>";
  return svg;
}

// Filled areas, each above the ones before it.
std::string draw_stack(const std::vector<Series>& series, const Axes& axes) {
  std::string svg;
  std::vector<double> base;
  for (const Series& s : series) {
    const auto points = thin(s.points, 2 * kBuckets);
    base.resize(points.size());
    std::vector<Point> outline;
    for (size_t i = points.size(); i-- > 0;) outline.push_back({points[i].x, base[i]});
    for (size_t i = 0; i < points.size(); ++i) outline.push_back({points[i].x, base[i] += points[i].y});
    svg += "<polygon class=\"area s" + std::to_string(s.style) + "\" data-name=\"" + escape_html(s.name) +
           "\" data-points=\"" + data_attribute(points) + "\" points=\"" + points_text(outline, axes) + "\"/>";
  }
  return svg;
}

Axes fit(const Chart& chart) {
  std::vector<double> xs, ys, faint;
  std::vector<double> sums;
  for (const Series& s : chart.series) {
    sums.resize(std::max(sums.size(), s.points.size()));
    for (size_t i = 0; i < s.points.size(); ++i) {
      xs.push_back(s.points[i].x);
      (s.look == Series::kBand ? faint : ys).push_back(s.points[i].y);
      sums[i] += s.points[i].y;
    }
  }
  if (chart.stacked) ys = sums;
  Axes axes = {fit_axis(xs, 0, 1, false, false), fit_axis(ys, 0, 1, chart.log_y, chart.from_zero)};
  if (!faint.empty()) {  // spikes of the raw curve may leave the plot, the smooth curve may not
    const Axis wide = fit_axis(faint, 0.01, 0.99, chart.log_y, chart.from_zero);
    axes.y.low = std::min(axes.y.low, wide.low);
    axes.y.high = std::max(axes.y.high, wide.high);
  }
  if (!xs.empty()) {
    const auto [first, last] = std::minmax_element(xs.begin(), xs.end());
    axes.x.low = *first;
    axes.x.high = *last > *first ? *last : *first + 1;
  }
  axes.x.from = kLeft, axes.x.to = kWidth - kRight;
  axes.y.from = kHeight - kBottom, axes.y.to = kTop;
  return axes;
}

std::string draw_axes(const Chart& chart, const Axes& axes) {
  std::string svg;
  for (double tick : axes.y.ticks(5)) {
    const double y = axes.y(tick);
    svg += line(kLeft, y, kWidth - kRight, y, "grid") + text_at(kLeft - 7, y + 4, "tick y", tick_text(tick));
  }
  for (double tick : axes.x.ticks(6)) {
    if (std::abs(tick - std::round(tick)) > 1e-6) continue;  // x counts
    const double x = axes.x(tick);
    svg += line(x, kHeight - kBottom, x, kHeight - kBottom + 4, "axis") +
           text_at(x, kHeight - 8, "tick x", tick_text(tick));
  }
  svg += line(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "axis");
  svg += text_at(kLeft - 48, 11, "unit", chart.unit);
  return svg + text_at(kLeft - 48, kHeight - 8, "unit", chart.x_unit);
}

std::string draw_marks(const Chart& chart, const Axes& axes) {
  std::string svg;
  for (const Mark& mark : chart.marks) {
    if (mark.x < axes.x.low || mark.x > axes.x.high) continue;
    const double x = axes.x(mark.x);
    svg += line(x, kTop, x, kHeight - kBottom, "mark") + text_at(x, kTop - 4, "tick x", mark.label);
  }
  return svg;
}

std::string draw_legend(const Chart& chart) {
  std::string html;
  for (const Series& s : chart.series) {
    if (s.name.empty() || s.points.empty()) continue;
    const std::string style = " s" + std::to_string(s.style);
    const std::string swatch = chart.stacked ? "<rect width=\"22\" height=\"10\" class=\"area" + style + "\"/>"
                               : s.look == Series::kBand
                                   ? "<rect width=\"22\" height=\"10\" class=\"band" + style + "\"/>"
                                   : "<line x1=\"0\" y1=\"5\" x2=\"22\" y2=\"5\" class=\"line" + style + "\"/>";
    html += "<span><svg class=\"swatch\" viewBox=\"0 0 22 10\">" + swatch + "</svg>" + escape_html(s.name) + "</span>";
  }
  return html.empty() ? "" : "<div class=\"legend\">" + html + "</div>";
}

std::string caption(const std::string& title, const std::string& note) {
  return "<figcaption><h3>" + escape_html(title) + "</h3>" + (note.empty() ? "" : "<p>" + escape_html(note) + "</p>") +
         "</figcaption>";
}

// What the page's script needs to turn a pointer's place into a step.
std::string scale_attributes(const Axes& axes) {
  return " data-x=\"" + number(axes.x.low) + " " + number(axes.x.high) + " " + number(kLeft) + " " +
         number(kWidth - kRight) + "\"";
}

// What can be drawn of it.
Chart drawable(Chart chart) {
  for (Series& s : chart.series) s.points = finite(s.points);
  std::erase_if(chart.series, [](const Series& s) { return s.points.empty(); });
  return chart;
}

// Axes, curves and marks, in pixels of the plot.
std::string draw_plot(const Chart& chart, const Axes& axes) {
  std::string plot;
  if (chart.stacked)
    plot = draw_stack(chart.series, axes);
  else
    for (const Series& s : chart.series) plot += s.look == Series::kBand ? draw_band(s, axes) : draw_line(s, axes);
  // A nested <svg> clips what leaves the frame, without an id that would have to be unique on the page. Dots on its
  // sides stay whole.
  constexpr double kDot = 4;
  const std::string box[] = {number(kLeft - kDot), number(kTop), number(kWidth - kLeft - kRight + 2 * kDot),
                             number(kHeight - kTop - kBottom)};
  const std::string clipped = "<svg x=\"" + box[0] + "\" y=\"" + box[1] + "\" width=\"" + box[2] + "\" height=\"" +
                              box[3] + "\" viewBox=\"" + box[0] + " " + box[1] + " " + box[2] + " " + box[3] + "\">" +
                              plot + "</svg>";
  return draw_axes(chart, axes) + clipped + draw_marks(chart, axes);
}

// In a row, above a file's plot.
std::string draw_svg_legend(const Chart& chart, double x, double y) {
  constexpr double kLetter = 6.5;  // about as wide
  std::string svg;
  for (const Series& s : chart.series) {
    svg += line(x, y - 4, x + 22, y - 4, ("line s" + std::to_string(s.style)).c_str()) +
           text_at(x + 28, y, "unit", s.name);
    x += 50 + kLetter * static_cast<double>(s.name.size());
  }
  return svg;
}

// The page's colours and dashes, for a file that has no page around it.
constexpr const char* kFileStyle =
    "text{font:12px system-ui,sans-serif;fill:#5b6570}.title{font-size:15px;font-weight:600;fill:#1b1f24}"
    ".y{text-anchor:end}.x{text-anchor:middle}.grid{stroke:#e3e6ea}.axis,.mark{stroke:#5b6570}"
    ".line{fill:none;stroke-width:2}.s0{stroke:#0072b2}.s1{stroke:#d55e00;stroke-dasharray:8 4}"
    ".s2{stroke:#009e73;stroke-dasharray:2 4}.dot{stroke:none}.dot.s0{fill:#0072b2}.dot.s1{fill:#d55e00}";

}  // namespace

std::string draw_chart(const Chart& chart) {
  const Chart drawn = drawable(chart);
  if (drawn.series.empty()) return "";
  const Axes axes = fit(drawn);
  const std::string box = "0 0 " + number(kWidth) + " " + number(kHeight);
  return "<figure class=\"chart\">" + caption(drawn.title, drawn.note) + draw_legend(drawn) +
         "<svg class=\"plot\" viewBox=\"" + box + "\" role=\"img\" aria-label=\"" + escape_html(drawn.title) + "\"" +
         scale_attributes(axes) + ">" + draw_plot(drawn, axes) + "</svg></figure>\n";
}

std::string draw_svg(const Chart& chart) {
  constexpr double kMargin = 16, kHead = 80;
  const Chart drawn = drawable(chart);
  if (drawn.series.empty()) return "";
  const std::string size =
      "width=\"" + number(kWidth + 2 * kMargin) + "\" height=\"" + number(kHeight + kHead + kMargin) + "\"";
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" " + size + ">\n<style>" + kFileStyle +
         "</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n" +
         text_at(kMargin, 26, "title", drawn.title) + text_at(kMargin, 44, "unit", drawn.note) +
         draw_svg_legend(drawn, kMargin, 66) + "\n<g transform=\"translate(" + number(kMargin) + " " + number(kHead) +
         ")\">" + draw_plot(drawn, fit(drawn)) + "</g>\n</svg>\n";
}

std::string draw_bars(const std::string& title, const std::string& note, const std::vector<Bar>& bars) {
  if (bars.empty()) return "";
  double most = 0;
  for (const Bar& bar : bars) most = std::max(most, bar.value);
  std::string rows;
  for (const Bar& bar : bars)
    rows += "<tr><th>" + escape_html(bar.label) +
            "</th><td class=\"bar\"><div style=\"width:" + number(most > 0 ? 100 * bar.value / most : 0) +
            "%\"></div></td><td class=\"num\">" + escape_html(bar.text) + "</td></tr>";
  return "<figure>" + caption(title, note) + "<table class=\"bars\">" + rows + "</table></figure>\n";
}

std::vector<Point> thin(const std::vector<Point>& points, size_t count) {
  if (points.size() <= count) return points;
  std::vector<Point> result;
  for (size_t bucket = 0; bucket < count; ++bucket) {
    const size_t begin = bucket * points.size() / count, end = (bucket + 1) * points.size() / count;
    Point mean = {0, 0};
    for (size_t i = begin; i < end; ++i) mean.x += points[i].x, mean.y += points[i].y;
    const double n = static_cast<double>(end - begin);
    result.push_back({mean.x / n, mean.y / n});
  }
  return result;
}

std::vector<Point> smooth(const std::vector<Point>& points, size_t width) {
  const std::vector<Point> drawn = finite(points);
  std::vector<double> sums = {0};
  for (const Point& p : drawn) sums.push_back(sums.back() + p.y);
  std::vector<Point> result;
  for (size_t i = 0; i < drawn.size(); ++i) {
    const size_t reach = std::min({width / 2, i, drawn.size() - 1 - i});
    const double mean = (sums[i + reach + 1] - sums[i - reach]) / static_cast<double>(2 * reach + 1);
    result.push_back({drawn[i].x, mean});
  }
  return result;
}

std::string escape_html(const std::string& text) {
  std::string result;
  for (char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (c == '>')
      result += "&gt;";
    else if (c == '"')
      result += "&quot;";
    else
      result += c;
  }
  return result;
}

}  // namespace shardit
