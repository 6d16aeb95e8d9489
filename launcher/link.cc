#include "launcher/link.h"

#include <algorithm>
#include <cmath>

#include <glog/logging.h>

namespace shardit {
namespace {

// Sums over the points of products of steps / us, bytes / us and 1.
struct Sums {
  double ss = 0, sb = 0, bb = 0, s = 0, b = 0;

  explicit Sums(std::span<const Transfer> points) {
    for (const Transfer& p : points) {
      const double steps = p.steps / p.us, bytes = p.bytes / p.us;
      ss += steps * steps, sb += steps * bytes, bb += bytes * bytes;
      s += steps, b += bytes;
    }
  }
};

}  // namespace

Link fit_link(std::span<const Transfer> points) {
  CHECK_GE(points.size(), 2u);
  const Sums x(points);
  const double det = x.ss * x.bb - x.sb * x.sb;
  double step_us = (x.s * x.bb - x.b * x.sb) / det, us_per_byte = (x.b * x.ss - x.s * x.sb) / det;
  if (!(step_us >= 0)) step_us = 0, us_per_byte = x.b / x.bb;
  if (!(us_per_byte > 0)) step_us = x.s / x.ss, us_per_byte = 1e-12;  // bytes cost nothing that one could see
  return {.step_us = step_us, .gb_per_s = 1e-3 / us_per_byte};
}

double mean_error(const Link& link, std::span<const Transfer> points) {
  double sum = 0;
  for (const Transfer& p : points) sum += std::abs(link.us(p.steps, p.bytes) - p.us) / p.us;
  return sum / static_cast<double>(std::max<size_t>(points.size(), 1));
}

}  // namespace shardit
