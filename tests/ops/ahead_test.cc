#include "ops/ahead.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace shardit {
namespace {

struct Case {
  int64_t rows, row_bytes, stride, shares, width;
};

// The lines of the first `places` places of every share, as bytes from the first on.
std::set<int64_t> lines_asked_for(const Case& c, int64_t places) {
  const std::vector<std::byte> memory(1);
  const std::byte* const first = memory.data();
  Ahead ahead(first, c.rows, c.row_bytes, c.stride, c.shares, c.width);
  std::set<int64_t> lines;
  for (int64_t i = 0; i < c.shares; ++i) {
    const Places share = ahead.take_share();
    for (int64_t place = 0; place < places; ++place)
      for (int64_t at = 0; at < c.width; at += kCacheLineBytes)
        lines.insert(share.at - first + place * share.stride + at);
  }
  return lines;
}

// As a product asks with AVX-512, 32 places of a share: a tile's next rows along k, those of a weight gradient, a
// packed panel, one in b.
TEST(Ahead, SharesCoverEveryLine) {
  for (const Case& c : {Case{128, 1024, 4096, 88, 64},
                        {128, 1024, 1024, 264, 64},
                        {256, 512, 3072, 88, 64},
                        {256, 128, 128, 11, 128},
                        {256, 128, 1024, 22, 128},
                        {100, 1000, 1004, 70, 64}}) {
    const std::set<int64_t> lines = lines_asked_for(c, 32);
    for (int64_t row = 0; row < c.rows; ++row)
      for (int64_t at = 0; at < c.row_bytes; at += kCacheLineBytes)
        EXPECT_TRUE(lines.contains(row * c.stride + at)) << c.rows << " rows: row " << row << " byte " << at;
  }
}

TEST(Ahead, NothingButItsRowsWhereSharesAreEven) {
  const Case c{128, 1024, 4096, 64, 64};  // 4 shares of 32 rows for each of 16 lines
  EXPECT_EQ(lines_asked_for(c, 32).size(), 128u * 16);
}

TEST(RowsAhead, AreGivenInTheirOrderAndNoFasterThanAllowed) {
  constexpr int64_t kRows = 3, kStride = 40;
  std::byte a[kRows * kStride], b[kRows * kStride];
  RowsAhead ahead(kRows, 8);
  ahead.add(a, kStride);
  ahead.add(b, kStride);
  EXPECT_EQ(ahead.next(), nullptr);
  ahead.allow(2);
  std::vector<const std::byte*> given;
  for (int i = 0; i < 5; ++i) given.push_back(ahead.next());
  EXPECT_EQ(given, (std::vector<const std::byte*>{a, a + kStride, a + 2 * kStride, b, nullptr}));
  ahead.allow(kRows);
  EXPECT_EQ(ahead.next(), b + kStride);
  EXPECT_EQ(ahead.next(), b + 2 * kStride);
  EXPECT_EQ(ahead.next(), nullptr);
}

}  // namespace
}  // namespace shardit
