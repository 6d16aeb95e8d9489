#include "tests/ops/case.h"

namespace shardit {
namespace {

const std::vector<int64_t> kIds = {0, 3, (int64_t{1} << 40) + 5};

TEST(Draw, NormalsEqualTheScalarFunction) {
  const int64_t n = 2 * 1024 + 3 * 4 + 2;  // two whole tiles, whole blocks and half a block
  Case c;
  const Value ids = c.in("ids", {DType::kI64, {3}}), lane = c.in("lane", {DType::kI64, {1}});
  c.out("z", draw_normal(ids, {n}, 77, Purpose::kNoise));
  c.out("z9", draw_normal(ids, {2, n / 2}, 77, Purpose::kSampling, lane));
  c.compile();
  c.set("ids", kIds);
  c.set("lane", std::vector<int64_t>{9});
  c.run();
  const auto z = c.get<float>("z"), z9 = c.get<float>("z9");
  const Philox noise(77, Purpose::kNoise), sampling(77, Purpose::kSampling);
  for (int64_t b = 0; b < 3; ++b)
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(z[b * n + i], normal_at(noise, kIds[b], i)) << b << " " << i;
      ASSERT_EQ(z9[b * n + i], normal_at(sampling, kIds[b], i, 9)) << b << " " << i;
    }
}

TEST(Draw, IntegersAndDroppedLabelsEqualTheScalarFunctions) {
  const int64_t n = 400;
  Case c;
  const Value ids = c.in("ids", {DType::kI64, {n}}), labels = c.in("labels", {DType::kI64, {n}});
  c.out("t", draw_integer(ids, 1000, 5, Purpose::kTime));
  c.out("y", drop_labels(labels, ids, 0.1, 1000, 5));
  c.compile();
  std::vector<int64_t> id(n), label(n);
  for (int64_t i = 0; i < n; ++i) id[i] = 1000 + 7 * i, label[i] = i;
  c.set("ids", id);
  c.set("labels", label);
  c.run();
  const auto t = c.get<int64_t>("t"), y = c.get<int64_t>("y");
  int dropped = 0;
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_EQ(t[i], integer_at(Philox(5, Purpose::kTime), id[i], 0, 1000));
    const bool drop = uniform_at(Philox(5, Purpose::kLabelDrop), id[i], 0) < 0.1;
    ASSERT_EQ(y[i], drop ? 1000 : label[i]);
    dropped += drop;
  }
  EXPECT_NEAR(dropped, 40, 4 * std::sqrt(40.0));
}

TEST(Draw, SampleNumbersCountOnFromTheStepsBaseByRounds) {
  Case c;
  c.out("ids", sample_ids(c.in("counters", {DType::kI64, {2}}), 4));
  c.compile();
  c.set("counters", std::vector<int64_t>{int64_t{1} << 35, 3});
  c.run();
  const int64_t first = (int64_t{1} << 35) + 12;
  EXPECT_EQ(c.get<int64_t>("ids"), (std::vector<int64_t>{first, first + 1, first + 2, first + 3}));
}

TEST(Draw, ImagesFillTheRangeFromMinusOneToOne) {
  Case c;
  c.out("x", image_to_real(c.in("image", {DType::kU8, {1, 3}})));
  c.compile();
  c.set("image", std::vector<uint8_t>{0, 255, 51});
  c.run();
  EXPECT_EQ(c.get<float>("x"), (std::vector<float>{-1.0f, 1.0f, 51 / 127.5f - 1.0f}));
}

}  // namespace
}  // namespace shardit
