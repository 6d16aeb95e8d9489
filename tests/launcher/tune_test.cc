#include "launcher/tune.h"

#include <gtest/gtest.h>

namespace shardit {
namespace {

using Algorithms = std::map<std::string, LibraryAlgorithm>;

constexpr LibraryAlgorithm kOld = {1}, kNew = {2};

TEST(Tune, ReplacesWhatIsTunedAndKeepsTheRest) {
  const ProductTable before = {{{"H200", "8x8x8"}, {kOld}},
                               {{"H200", "16x8x8"}, {kOld}},
                               {{"H200", "of another config"}, {kOld}},
                               {{"H100", "8x8x8"}, {kOld}}};
  const std::vector<TunedProduct> tuned = {{.key = "8x8x8", .algorithm = kNew, .about = "id 66", .best_us = 4},
                                           {.key = "first seen", .algorithm = kNew},
                                           {.key = "16x8x8"}};  // no bits repeat any more
  const ProductTable after = with(before, "H200", tuned);
  EXPECT_EQ(algorithms_for(after, "H200"),
            (Algorithms{{"8x8x8", kNew}, {"first seen", kNew}, {"of another config", kOld}}));
  EXPECT_EQ(algorithms_for(after, "H100"), (Algorithms{{"8x8x8", kOld}}));
  EXPECT_EQ(after.at({"H200", "8x8x8"}).about, "id 66");
  EXPECT_EQ(after.at({"H200", "8x8x8"}).best_us, 4);
}

TEST(Tune, TellsNumbersAsJson) {
  const Json rows =
      to_json(std::vector<TunedProduct>{{.key = "8x8x8", .algorithm = kNew, .tried = 9, .first_us = 5, .best_us = 4},
                                        {.key = "16x8x8", .tried = 3, .unrepeatable = 3, .first_us = 7}});
  EXPECT_EQ(rows[0]["best_us"], 4.0);
  EXPECT_EQ(rows[0]["tried"], 9);
  EXPECT_TRUE(rows[1]["best_us"].is_null());
  EXPECT_EQ(rows[1]["unrepeatable"], 3);
}

}  // namespace
}  // namespace shardit
