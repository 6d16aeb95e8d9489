#include "launcher/chart_scale.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace shardit {
namespace {

// The largest of 1, 2, 5 times a power of ten that gives at least about `count` steps over `span`.
double round_step(double span, int count) {
  const double rough = span / count, power = std::pow(10, std::floor(std::log10(rough)));
  for (double factor : {1.0, 2.0, 5.0})
    if (rough <= factor * power * 1.0000001) return factor * power;
  return 10 * power;
}

std::vector<double> log_ticks(double low, double high, const std::vector<double>& factors) {
  std::vector<double> ticks;
  for (double power = std::pow(10, std::floor(std::log10(low))); power <= high; power *= 10)
    for (double factor : factors)
      if (const double tick = factor * power; tick >= low * 0.9999 && tick <= high * 1.0001) ticks.push_back(tick);
  return ticks;
}

constexpr double kLargest = 1e150;  // magnitude that an axis shows, so that spans and ratios stay finite
constexpr int kMostTicks = 20;

double quantile(std::vector<double> sorted, double q) {
  return sorted[static_cast<size_t>(std::lround(q * static_cast<double>(sorted.size() - 1)))];
}

}  // namespace

double Axis::operator()(double value) const {
  const double position =
      log ? std::log(std::max(value, low * 1e-3) / low) / std::log(high / low) : (value - low) / (high - low);
  return from + std::clamp(position, -2.0, 3.0) * (to - from);
}

std::vector<double> Axis::ticks(int about) const {
  if (log && high / low > 4) {
    for (const auto& factors : {std::vector{1.0, 2.0, 5.0}, std::vector{1.0, 3.0}, std::vector{1.0}}) {
      const std::vector<double> ticks = log_ticks(low, high, factors);
      if (static_cast<int>(ticks.size()) <= about + 3 && ticks.size() >= 2) return ticks;
    }
  }
  const double step = round_step(high - low, about);
  std::vector<double> ticks;
  const double first = std::ceil(low / step - 1e-6);
  for (int i = 0; i <= kMostTicks; ++i)  // counted: where numbers are large, adding a step may add nothing
    if (const double tick = (first + i) * step; tick <= high + step * 1e-6)
      ticks.push_back(std::abs(tick) < step * 1e-6 ? 0 : tick);
  return ticks;
}

Axis fit_axis(const std::vector<double>& values, double low_quantile, double high_quantile, bool log, bool from_zero) {
  std::vector<double> sorted;
  for (double value : values)
    if (std::isfinite(value) && (!log || value > 0))
      sorted.push_back(std::clamp(value, log ? 1 / kLargest : -kLargest, kLargest));
  Axis axis;
  axis.log = log && !sorted.empty();
  if (sorted.empty()) return axis;
  std::sort(sorted.begin(), sorted.end());
  axis.low = quantile(sorted, low_quantile);
  axis.high = quantile(sorted, high_quantile);
  if (axis.log) {
    const double room = std::max(std::pow(axis.high / axis.low, 0.05), 1.02);
    axis.low /= room;
    axis.high *= room;
    return axis;
  }
  if (from_zero) axis.low = std::min(0.0, axis.low);
  const double spread = std::max(axis.high - axis.low, std::abs(axis.high) * 0.02);
  const double room = spread > 0 ? spread * 0.06 : 0.5;
  axis.high += room;
  if (!from_zero) axis.low -= axis.low >= 0 ? std::min(room, axis.low) : room;
  return axis;
}

std::string tick_text(double value) {
  const double size = std::abs(value);
  double shown = value;
  const char* unit = "";
  for (const auto& [limit, name] :
       {std::pair{1e12, "T"}, std::pair{1e9, "G"}, std::pair{1e6, "M"}, std::pair{1e4, "k"}}) {
    if (size < limit * 0.99999) continue;
    shown = value / (limit == 1e4 ? 1e3 : limit);
    unit = name;
    break;
  }
  char text[32];
  snprintf(text, sizeof text, "%.4g", shown);
  if (size > 0 && size < 9.9e-4) {
    const int exponent = static_cast<int>(std::floor(std::log10(size * 1.00001)));
    snprintf(text, sizeof text, "%.3ge%d", value / std::pow(10, exponent), exponent);
  }
  std::string result = text;
  return result + unit;
}

}  // namespace shardit
