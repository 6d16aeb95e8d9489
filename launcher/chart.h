// Charts as inline SVG, for the report. Colours and line styles are CSS classes (report_style.cc), so that a chart
// follows the page's light or dark look; series differ in dash as well as in colour.
#pragma once

#include <string>
#include <vector>

namespace shardit {

struct Point {
  double x, y;
};

struct Series {
  enum Look { kLine, kBand, kDots };
  std::string name;           // in the legend; empty keeps it out
  std::vector<Point> points;  // x ascending; a point that is not finite is left out
  Look look = kLine;          // kBand: faint, from the least to the greatest y of neighbouring points
  int style = 0;              // 0 to 5: colour and dash
};

struct Mark {
  double x;
  std::string label;  // "resume"
};

struct Chart {
  std::string title;
  std::string note = {};        // under the title
  std::string unit = {};        // of y, at the top of its axis
  std::string x_unit = "step";  // what x counts
  std::vector<Series> series = {};
  std::vector<Mark> marks = {};  // vertical lines
  bool log_y = false;
  bool from_zero = false;  // y starts at 0
  bool stacked = false;    // series lie on top of each other, as filled areas; they share their x
};

// A <figure> with title, legend and plot; empty if no series has a point.
std::string draw_chart(const Chart& chart);

// The same as an SVG file of its own; empty if no series has a point.
std::string draw_svg(const Chart& chart);

struct Bar {
  std::string label, text;  // text: the value as people read it
  double value;
};
// Horizontal bars on one scale, as a <figure>; empty without bars.
std::string draw_bars(const std::string& title, const std::string& note, const std::vector<Bar>& bars);

// At most `count` points: the mean of neighbours. For curves that are already smooth.
std::vector<Point> thin(const std::vector<Point>& points, size_t count);

// The mean over a window of `width` points around each; narrower at the ends.
std::vector<Point> smooth(const std::vector<Point>& points, size_t width);

std::string escape_html(const std::string& text);

}  // namespace shardit
