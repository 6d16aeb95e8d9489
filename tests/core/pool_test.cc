#include "core/pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include <stdexcept>
#include <vector>

namespace shardit {
namespace {

TEST(Pool, RunsEveryTileOnce) {
  for (int threads : {1, 2, 5}) {
    Pool pool(threads);
    for (int64_t tiles : {0, 1, 2, 97}) {
      std::vector<std::atomic<int>> seen(tiles);
      pool.run(tiles, [&](int64_t tile, int thread) {
        EXPECT_LT(thread, threads);
        ++seen[tile];
      });
      for (auto& count : seen) EXPECT_EQ(count, 1);
    }
  }
}

TEST(Pool, ManySmallRunsInARow) {
  Pool pool(3);
  std::atomic<int64_t> sum{0};
  for (int i = 0; i < 20000; ++i) pool.run(4, [&](int64_t tile, int) { sum += tile; });
  EXPECT_EQ(sum, 20000 * 6);
}

TEST(Pool, RethrowsAndStaysUsable) {
  Pool pool(2);
  EXPECT_THROW(pool.run(50,
                        [](int64_t tile, int) {
                          if (tile == 7) throw std::runtime_error("tile 7");
                        }),
               std::runtime_error);
  std::atomic<int> count{0};
  pool.run(10, [&](int64_t, int) { ++count; });
  EXPECT_EQ(count, 10);
}

TEST(Tile, CoversEverythingOnce) {
  EXPECT_EQ(tile_count(10, 4), 3);
  EXPECT_EQ(tile_at(10, 4, 2).begin, 8);
  EXPECT_EQ(tile_at(10, 4, 2).end, 10);
}

TEST(Pool, ShuffledDealsEveryTileOnceInAnotherOrderEachTime) {
  Pool pool(5, Pool::Deal::kShuffled);
  EXPECT_EQ(pool.threads(), 5);
  std::vector<std::vector<int64_t>> orders;
  for (int run = 0; run < 20; ++run) {
    orders.emplace_back();
    pool.run(24, [&](int64_t tile, int thread) {
      EXPECT_TRUE(thread >= 0 && thread < 5);
      orders.back().push_back(tile);
    });
    std::vector<int64_t> sorted = orders.back();
    std::sort(sorted.begin(), sorted.end());
    for (int64_t i = 0; i < 24; ++i) ASSERT_EQ(sorted[i], i);
  }
  EXPECT_GT(std::set(orders.begin(), orders.end()).size(), 15u);
}

}  // namespace
}  // namespace shardit
