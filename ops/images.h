// Loops over batches whose images carry one number each, and sums over an image in an order fixed by the shape.
#pragma once

#include "core/error.h"
#include "ops/kernel.h"

namespace shardit {

// Elements of one image of x (B, …).
inline int64_t per_image(const Shape& x) { return x[0] == 0 ? 0 : x.numel() / x[0]; }

inline void require_per_image(const Shape& factors, const Shape& x) {
  REQUIRE(x.rank() >= 1 && factors.rank() == 1 && factors[0] == x[0],
          "one number per image is expected, " + factors.str() + " is given for a batch " + x.str());
}

// Calls body(image, begin, end) for pieces of the whole batch; begin and end count from the batch's first element.
template <typename F> void for_image_tiles(Pool& pool, int64_t images, int64_t per_image, F&& body) {
  const int64_t tiles = tile_count(per_image, kPointwiseTile);
  pool.run(images * tiles, [&](int64_t t, int) {
    const int64_t image = t / tiles;
    const Tile tile = tile_at(per_image, kPointwiseTile, t % tiles);
    body(image, image * per_image + tile.begin, image * per_image + tile.end);
  });
}

inline constexpr int64_t kSumBlock = 1024;
inline constexpr int64_t kSumLanes = 16;

inline int64_t image_sums_workspace(const Shape& x) {
  return x[0] * tile_count(per_image(x), kSumBlock) * static_cast<int64_t>(sizeof(double));
}

inline double sum_in_lanes(const double* terms, int64_t n) {
  double lanes[kSumLanes] = {};
  const int64_t whole = n / kSumLanes * kSumLanes;
  for (int64_t i = 0; i < whole; i += kSumLanes)
    for (int64_t l = 0; l < kSumLanes; ++l) lanes[l] += terms[i + l];
  for (int64_t i = whole; i < n; ++i) lanes[i - whole] += terms[i];
  double sum = lanes[0];
  for (int64_t l = 1; l < kSumLanes; ++l) sum += lanes[l];
  return sum;
}

// finish(image, the sum over its elements), where terms(image, begin, end, to) writes the terms of a piece. fp64 sums:
// kSumLanes interleaved ones within a block of kSumBlock elements, then blocks in order. Needs image_sums_workspace.
template <typename Terms, typename Finish>
void image_sums(const KernelArgs& k, const Shape& x, Terms&& terms, Finish&& finish) {
  const int64_t images = x[0], elements = per_image(x), blocks = tile_count(elements, kSumBlock);
  double* partial = reinterpret_cast<double*>(k.workspace);
  k.pool->run(images * blocks, [&](int64_t t, int) {
    const Tile tile = tile_at(elements, kSumBlock, t % blocks);
    const int64_t image = t / blocks, first = image * elements;
    double term[kSumBlock];
    terms(image, first + tile.begin, first + tile.end, term);
    partial[t] = sum_in_lanes(term, tile.end - tile.begin);
  });
  for (int64_t image = 0; image < images; ++image) {
    double sum = 0;
    for (int64_t b = 0; b < blocks; ++b) sum += partial[image * blocks + b];
    finish(image, sum);
  }
}

}  // namespace shardit
