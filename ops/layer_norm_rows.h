// What the CPU kernels of layer norm and of the cards that fuse it share: its rows, in groups.
#pragma once

#include "ops/kernel.h"
#include "ops/vector.h"

namespace shardit::layer_norm_rows {

// The sum over i < n of term(i), where term gives a vector of lanes i, i + 1, …: whole vectors in two alternating
// sums, then the rest, then over the lanes.
template <typename S, typename F> S sum_of(int64_t n, F&& term) {
  constexpr int64_t kStep = kVectorLanes<S>;
  Vector<S> even{}, odd{};
  int64_t i = 0;
  for (; i + 2 * kStep <= n; i += 2 * kStep) {
    even += term(i, kStep);
    odd += term(i + kStep, kStep);
  }
  for (; i < n; i += kStep) even += term(i, std::min(kStep, n - i));
  return sum(even + odd);
}

template <typename S, typename F, typename T> void write_row(T* y, int64_t n, F&& value) {
  constexpr int64_t kStep = kVectorLanes<S>;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) store(y + i, value(i, kStep));
  if (i < n) store_part<S>(y + i, value(i, n - i), n - i);
}

// Rows go through each pass in groups: a row's sum, division and root are one chain of latencies, and the chains of
// several rows overlap. A group stays in the first-level cache.
constexpr int64_t kGroup = 4;

// Calls f(first, count) for the groups of `rows` rows, in tiles of 32,768 elements.
template <typename F> void for_groups(Pool& pool, int64_t rows, int64_t columns, F&& f) {
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(columns, 1));
  pool.run(tile_count(rows, grain), [&](int64_t t, int) {
    const Tile tile = tile_at(rows, grain, t);
    for (int64_t first = tile.begin; first < tile.end; first += kGroup) f(first, std::min(kGroup, tile.end - first));
  });
}

// y = (x - mean) * rstd for the rows of a group.
template <typename X, typename Y, typename S>
void normalize(int64_t count, int64_t columns, const X* x, Y* y, S* mean, S* rstd, S epsilon) {
  for (int64_t r = 0; r < count; ++r)
    mean[r] = sum_of<S>(columns, [row = x + r * columns](int64_t i, int64_t n) { return load_lanes<S>(row + i, n); }) /
              static_cast<S>(columns);
  for (int64_t r = 0; r < count; ++r) {
    const S squares = sum_of<S>(columns, [row = x + r * columns, mean = mean[r]](int64_t i, int64_t n) {
      const Vector<S> d = (n == kVectorLanes<S> ? load(row + i) : load_part<S>(row + i, n, mean)) - mean;
      return d * d;
    });
    rstd[r] = S(1) / std::sqrt(squares / static_cast<S>(columns) + epsilon);
  }
  for (int64_t r = 0; r < count; ++r)
    write_row<S>(y + r * columns, columns,
                 [row = x + r * columns, mean = mean[r], rstd = rstd[r]](int64_t i, int64_t n) {
                   return (load_lanes<S>(row + i, n) - mean) * rstd;
                 });
}

// Calls write(r, dx) for the rows of a group, where dx(i, n) gives lanes i … i + n of row r's gradient.
template <typename D, typename X, typename S, typename F>
void differentiate(int64_t count, int64_t columns, const D* dy, const X* x, const S* mean, const S* rstd, F&& write) {
  S a[kGroup], b[kGroup];
  for (int64_t r = 0; r < count; ++r) {
    const D* d = dy + r * columns;
    const S sum = sum_of<S>(columns, [d](int64_t i, int64_t n) { return load_lanes<S>(d + i, n); });
    const S product = sum_of<S>(columns, [d, row = x + r * columns, mean = mean[r]](int64_t i, int64_t n) {
      return load_lanes<S>(d + i, n) * (load_lanes<S>(row + i, n) - mean);
    });
    a[r] = sum / static_cast<S>(columns);
    b[r] = rstd[r] * rstd[r] * (product / static_cast<S>(columns));
  }
  for (int64_t r = 0; r < count; ++r)
    write(r, [d = dy + r * columns, row = x + r * columns, mean = mean[r], rstd = rstd[r], a = a[r], b = b[r]](
                 int64_t i, int64_t n) {
      return rstd * (load_lanes<S>(d + i, n) - a - (load_lanes<S>(row + i, n) - mean) * b);
    });
}

}  // namespace shardit::layer_norm_rows
