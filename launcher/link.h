// The link between ranks as two numbers: what one step of a collective costs whatever its size, and the bytes per
// second beyond that. `shardit bench comm` fits them; predictions of a training step use them.
#pragma once

#include <span>

namespace shardit {

// One collective as it was measured: every rank sends `bytes`, in `steps` steps one after another (docs/dist.md).
struct Transfer {
  double steps = 0, bytes = 0, us = 0;
};

struct Link {
  double step_us = 0;   // of each step
  double gb_per_s = 0;  // 1e9 bytes that one rank sends; 0: nothing was measured

  double us(double steps, double bytes) const { return steps * step_us + bytes / (gb_per_s * 1e3); }
};

// The line us = steps * step_us + bytes / rate that is nearest to the points by the sum of squared relative errors, so
// that the small sizes count as much as the large. Neither number is negative. REQUIRES: two points or more.
Link fit_link(std::span<const Transfer> points);

// The mean of |fitted - measured| / measured.
double mean_error(const Link& link, std::span<const Transfer> points);

}  // namespace shardit
