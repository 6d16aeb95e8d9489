// Asking the memory for what is read next while there is still something to compute.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/pool.h"  // tile_count

namespace shardit {

inline constexpr int64_t kCacheLineBytes = 64;

// Asks for the line at p, for the second-level cache. By assembly: gcc takes a function that does nothing but
// __builtin_prefetch for one without effect, and leaves its calls out.
inline void ask_for(const void* p) { asm volatile("prefetcht1 %0" : : "m"(*static_cast<const char*>(p))); }
inline void ask_for(const void* p, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kCacheLineBytes) ask_for(static_cast<const std::byte*>(p) + at);
}

// Places to ask for, one after another.
struct Places {
  const std::byte* at;
  int64_t stride;
};

// `rows` rows of memory, `stride` bytes from one to the next, to be asked for in `shares` nearly equal shares: runs of
// places `width` bytes wide below each other. It may lie anywhere: asking for what is not there does nothing.
class Ahead {
 public:
  Ahead() = default;
  Ahead(const void* first, int64_t rows, int64_t row_bytes, int64_t stride, int64_t shares, int64_t width)
      : first_(static_cast<const std::byte*>(first)),
        rows_(rows),
        row_bytes_(row_bytes),
        stride_(stride),
        width_(width) {
    const int64_t runs = std::max<int64_t>(1, shares / tile_count(row_bytes, width));
    run_ = tile_count(rows, runs);
  }
  Places take_share() {
    const Places share{first_ + row_ * stride_ + at_, stride_};
    if ((row_ += run_) >= rows_) {
      row_ = 0;
      if ((at_ += width_) >= row_bytes_) at_ = 0;
    }
    return share;
  }

 private:
  const std::byte* first_ = nullptr;
  int64_t rows_ = 0, row_bytes_ = 0, stride_ = 0, width_ = 0, run_ = 0, row_ = 0, at_ = 0;
};

// Matrices of one height and width, to be asked for one row at a time, no faster than they will be used.
class RowsAhead {
 public:
  RowsAhead(int64_t rows, int64_t row_bytes) : rows_(rows), row_bytes_(row_bytes) {}
  void add(const void* first, int64_t stride_bytes) {
    matrices_[count_++] = {static_cast<const std::byte*>(first), stride_bytes};
  }
  // From now on that share of all may be asked for: `part` of the rows of each, of all matrices in their order.
  void allow(int64_t part) { allowed_ = part * count_; }
  // The row whose turn it is, null where none may be asked for.
  [[gnu::always_inline]] const std::byte* next() {
    if (given_ == allowed_) return nullptr;
    Places& matrix = matrices_[given_++ / rows_];
    const std::byte* const row = matrix.at;
    matrix.at += matrix.stride;
    return row;
  }
  [[gnu::always_inline]] void ask() {
    if (const std::byte* row = next()) ask_for(row, row_bytes_);
  }

 private:
  static constexpr int kMost = 8;
  Places matrices_[kMost];
  int64_t rows_, row_bytes_, given_ = 0, allowed_ = 0;
  int count_ = 0;
};

}  // namespace shardit
