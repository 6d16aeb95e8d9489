// Asking the memory for what is read next while there is still something to compute.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/pool.h"  // tile_count

namespace shardit {

inline constexpr int64_t kCacheLineBytes = 64;

// Asks for the line at p, for the second-level cache. By assembly: gcc takes a function that does nothing but
// __builtin_prefetch for one without effect, and leaves its calls out.
inline void ask_for(const void* p) { asm volatile("prefetcht1 %0" : : "m"(*static_cast<const char*>(p))); }

// `rows` rows of memory, `stride` bytes from one to the next, asked for in equal shares. It may lie anywhere: asking
// for what is not there does nothing.
class Ahead {
 public:
  Ahead() = default;
  Ahead(const void* first, int64_t rows, int64_t row_bytes, int64_t stride, int64_t shares)
      : row_(static_cast<const std::byte*>(first)),
        rows_(rows),
        row_bytes_(row_bytes),
        stride_(stride),
        share_(tile_count(rows * tile_count(row_bytes, kCacheLineBytes), shares)) {}
  void ask_share() {
    const std::byte* row = row_;
    int64_t at = at_, rows = rows_;
    for (int64_t i = 0; i < share_ && rows > 0; ++i) {
      ask_for(row + at);
      if ((at += kCacheLineBytes) < row_bytes_) continue;
      at = 0;
      row += stride_;
      --rows;
    }
    row_ = row, at_ = at, rows_ = rows;
  }

 private:
  const std::byte* row_ = nullptr;
  int64_t rows_ = 0, row_bytes_ = 0, stride_ = 0, share_ = 0, at_ = 0;
};

}  // namespace shardit
