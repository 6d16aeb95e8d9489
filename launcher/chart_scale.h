// The axes of a chart: ranges that suit the data, round ticks, and data to pixels.
#pragma once

#include <string>
#include <vector>

#include "launcher/chart.h"

namespace shardit {

struct Axis {
  double low = 0, high = 1;  // in data
  bool log = false;
  double from = 0, to = 1;  // in pixels; y grows downwards, so from > to there

  double operator()(double value) const;  // data to pixels
  std::vector<double> ticks(int about) const;
};

// The range of all finite values between two quantiles, widened to round numbers; the quantiles keep single spikes
// from flattening a curve.
Axis fit_axis(const std::vector<double>& values, double low_quantile, double high_quantile, bool log, bool from_zero);

std::string tick_text(double value);  // "0.15", "12k", "3M", "1e-4"

}  // namespace shardit
