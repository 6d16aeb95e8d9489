#include "launcher/report_curves.h"

#include <algorithm>

#include "launcher/chart.h"
#include "launcher/format.h"

namespace shardit {
namespace {

template <typename Get> std::vector<Point> curve(const MetricsFile& metrics, Get&& get) {
  std::vector<Point> points;
  for (const StepMetrics& m : metrics.steps)
    points.push_back({static_cast<double>(m.step), static_cast<double>(get(m))});
  return points;
}

std::vector<Mark> resume_marks(const MetricsFile& metrics) {
  std::vector<Mark> marks;
  for (const Json& event : metrics.events)
    if (event["event"] == "resume") marks.push_back({event["step"].get<double>(), "resume"});
  return marks;
}

size_t smoothing_width(size_t steps) { return std::max<size_t>(1, steps / 40); }

// Every step as a faint band, and the mean over a window of a fortieth of the run.
Chart noisy_chart(const std::string& title, const std::string& unit, const std::vector<Point>& points,
                  const MetricsFile& metrics) {
  const size_t width = smoothing_width(points.size());
  Chart chart{.title = title, .unit = unit, .marks = resume_marks(metrics)};
  if (width > 1) chart.series.push_back({"every step", points, Series::kBand, 0});
  chart.series.push_back({width > 1 ? "mean of " + std::to_string(width) + " steps" : "every step",
                          smooth(points, width), Series::kLine, 0});
  return chart;
}

// Whether a curve falls so far that only a logarithmic axis shows its end.
bool spans_decades(const std::vector<Point>& points) {
  if (points.empty()) return false;
  const auto [least, most] =
      std::minmax_element(points.begin(), points.end(), [](Point a, Point b) { return a.y < b.y; });
  return least->y > 0 && most->y > 4 * least->y;
}

std::string loss_chart(const MetricsFile& metrics) {
  Chart chart = noisy_chart("Training loss", "loss", curve(metrics, [](auto& m) { return m.loss; }), metrics);
  chart.note = "Mostly noise in a diffusion model: judge by the validation loss where there is one.";
  chart.log_y = spans_decades(chart.series.back().points);
  return draw_chart(chart);
}

std::string bin_name(size_t bin, size_t bins) {
  const auto percent = [&](size_t i) { return std::to_string(100 * i / bins); };
  return "t " + percent(bin) + "–" + percent(bin + 1) + " %";
}

std::string validation_chart(const MetricsFile& metrics) {
  std::vector<Series> all(1, {"all t", {}, Series::kDots, 0});
  for (const Json& event : metrics.events) {
    if (event["event"] != "validation") continue;
    const double step = event["step"].get<double>();
    if (event.contains("loss") && event["loss"].is_number())
      all[0].points.push_back({step, event["loss"].get<double>()});
    const Json bins = event.value("bins", Json::array());
    for (size_t i = 0; i < bins.size(); ++i) {
      if (all.size() < i + 2) all.push_back({bin_name(i, bins.size()), {}, Series::kLine, static_cast<int>(i % 5) + 1});
      if (bins[i].is_number()) all[i + 1].points.push_back({step, bins[i].get<double>()});
    }
  }
  const std::string note = all.size() > 1 ? "Held-out images, fixed noise; also by range of the noise time t."
                                          : "Held-out images, fixed noise.";
  return draw_chart({.title = "Validation loss",
                     .note = note,
                     .unit = "loss",
                     .series = all,
                     .marks = resume_marks(metrics),
                     .log_y = all.size() > 1});
}

std::string gradient_chart(const MetricsFile& metrics) {
  Chart chart = noisy_chart("Gradient norm", "norm", curve(metrics, [](auto& m) { return m.grad_norm; }), metrics);
  chart.log_y = true;
  chart.note = "Before clipping. Logarithmic.";
  return draw_chart(chart);
}

std::string rate_chart(const MetricsFile& metrics) {
  return draw_chart({.title = "Learning rate",
                     .unit = "lr",
                     .series = {{"", curve(metrics, [](auto& m) { return m.lr; }), Series::kLine, 0}},
                     .marks = resume_marks(metrics),
                     .from_zero = true});
}

std::string throughput_chart(const MetricsFile& metrics) {
  Chart chart = noisy_chart("Throughput", "img/s", curve(metrics, [](auto& m) { return m.images_per_s; }), metrics);
  chart.from_zero = true;
  return draw_chart(chart);
}

// One area of the breakdown; its share of all time stands in the legend.
Series part_of_step(const std::string& name, int style, const std::vector<Point>& ms, double total_ms) {
  double sum = 0;
  for (const Point& p : ms) sum += p.y;
  const std::string share = total_ms > 0 ? " " + format_percent(100 * sum / total_ms) : "";
  return {name + share, smooth(ms, smoothing_width(ms.size())), Series::kLine, style};
}

std::string breakdown_chart(const MetricsFile& metrics) {
  double total_ms = 0;
  for (const StepMetrics& m : metrics.steps) total_ms += m.step_ms;
  const auto compute =
      curve(metrics, [](auto& m) { return std::max(0.0, m.step_ms - m.data_wait_ms - m.comm_exposed_ms); });
  const auto wire = curve(metrics, [](auto& m) { return m.comm_exposed_ms; });
  const auto wait = curve(metrics, [](auto& m) { return m.data_wait_ms; });
  return draw_chart({.title = "Where a step's time goes",
                     .note = "Communication counts where no computation hides it.",
                     .unit = "ms",
                     .series = {part_of_step("computing", 0, compute, total_ms),
                                part_of_step("exposed communication", 1, wire, total_ms),
                                part_of_step("waiting for data", 2, wait, total_ms)},
                     .marks = resume_marks(metrics),
                     .from_zero = true,
                     .stacked = true});
}

std::string mfu_chart(const MetricsFile& metrics) {
  const auto points = smooth(curve(metrics, [](auto& m) { return 100 * m.mfu.value_or(NAN); }), 1);
  if (points.empty()) return "";
  Chart chart = noisy_chart("Model FLOPs utilisation", "%", points, metrics);
  chart.note = "Of the device's dense peak; recomputation does not count.";
  chart.from_zero = true;
  return draw_chart(chart);
}

std::vector<Bar> planned_classes(const MetricsFile& metrics) {
  const Json* start = last_event(metrics, "start");
  std::vector<Bar> bars;
  if (!start || !start->contains("plan")) return bars;
  for (const Json& part : start->at("plan"))
    bars.push_back({part.at("class").get<std::string>(), format_bytes(part.at("bytes").get<double>()),
                    part.at("bytes").get<double>()});
  std::stable_sort(bars.begin(), bars.end(), [](const Bar& a, const Bar& b) { return a.value > b.value; });
  return bars;
}

double total_of(const std::vector<Bar>& bars) {
  double total = 0;
  for (const Bar& bar : bars) total += bar.value;
  return total;
}

std::string planned_memory_bars(const MetricsFile& metrics) {
  const std::vector<Bar> bars = planned_classes(metrics);
  return draw_bars("Planned memory by class", "Per rank; " + format_bytes(total_of(bars)) + " in all.", bars);
}

std::string used_memory_chart(const MetricsFile& metrics) {
  const double planned = total_of(planned_classes(metrics));
  double most = planned;
  for (const StepMetrics& m : metrics.steps) most = std::max(most, static_cast<double>(m.mem_bytes));
  const double mebi = 1 << 20, gibi = 1 << 30, unit = most >= gibi ? gibi : mebi;
  Chart chart{.title = "Memory in use",
              .note = "On the fullest rank.",
              .unit = unit == gibi ? "GiB" : "MiB",
              .marks = resume_marks(metrics),
              .from_zero = true};
  chart.series.push_back(
      {"in use", curve(metrics, [&](auto& m) { return static_cast<double>(m.mem_bytes) / unit; }), Series::kLine, 0});
  if (planned > 0)
    chart.series.push_back({"planned", curve(metrics, [&](auto&) { return planned / unit; }), Series::kLine, 1});
  return draw_chart(chart);
}

}  // namespace

std::string quality_charts(const MetricsFile& metrics) {
  return loss_chart(metrics) + validation_chart(metrics) + gradient_chart(metrics) + rate_chart(metrics);
}

std::string speed_charts(const MetricsFile& metrics) {
  return throughput_chart(metrics) + breakdown_chart(metrics) + mfu_chart(metrics);
}

std::string memory_charts(const MetricsFile& metrics) {
  return planned_memory_bars(metrics) + used_memory_chart(metrics);
}

const Json* last_event(const MetricsFile& metrics, const std::string& name) {
  for (auto event = metrics.events.rbegin(); event != metrics.events.rend(); ++event)
    if ((*event)["event"] == name) return &*event;
  return nullptr;
}

}  // namespace shardit
