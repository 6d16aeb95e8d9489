// Patches, positions, time steps and labels against their formulas.
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "tests/ops/evaluate.h"

namespace shardit {
namespace {

TEST(PositionTable, EncodesTheColumnFirstThenTheRow) {
  constexpr int64_t kWindow = 5, kChannels = 24, kQuarter = kChannels / 4;
  const auto zero = Operand{{DType::kF32, {25, kChannels}}, Numbers(25 * kChannels, 0.0)};
  const auto got = evaluate(
      {zero}, [](auto& v) { return std::vector{add(v[0], position_table(*v[0].graph, kWindow, kChannels))}; })[0];
  for (int64_t token = 0; token < 25; ++token)
    for (int64_t c = 0; c < kChannels; ++c) {
      const double position = static_cast<double>(c < kChannels / 2 ? token % kWindow : token / kWindow);
      const int64_t in_half = c % (kChannels / 2);
      const double angle = position / std::pow(10000.0, static_cast<double>(in_half % kQuarter) / kQuarter);
      ASSERT_EQ(got[token * kChannels + c], static_cast<float>(in_half < kQuarter ? std::sin(angle) : std::cos(angle)))
          << token << " " << c;
    }
  Graph g;
  EXPECT_THROW(position_table(g, 5, 22), UserError);
}

TEST(TimestepEmbedding, IsCosinesThenSines) {
  const Numbers steps = {0, 1, 37, 500, 999, 1000};
  const auto got =
      evaluate({{{DType::kI64, {6}}, steps}}, [](auto& v) { return std::vector{timestep_embedding(v[0])}; })[0];
  const auto real =
      evaluate({{{DType::kF32, {6}}, steps}}, [](auto& v) { return std::vector{timestep_embedding(v[0])}; })[0];
  EXPECT_EQ(got, real);
  for (size_t b = 0; b < steps.size(); ++b)
    for (int i = 0; i < 128; ++i) {
      const double angle = steps[b] * std::pow(10000.0, -i / 128.0);
      // The exponent, up to 9.2, and the angle are rounded to fp32: 6e-7 relative in the angle.
      const double tolerance = 1e-7 + 7e-7 * angle;
      ASSERT_NEAR(got[b * 256 + i], std::cos(angle), tolerance);
      ASSERT_NEAR(got[b * 256 + 128 + i], std::sin(angle), tolerance);
    }
}

TEST(Patchify, OrdersFeaturesAsAsked) {
  constexpr int64_t kSide = 6, kPatch = 2, kChannels = 3, kAcross = kSide / kPatch;
  const Operand image = normal_operand({2, kSide, kSide, kChannels}, 0);
  const auto tokens = evaluate({image}, [](auto& v) {
    return std::vector{patchify(v[0], kPatch, PatchOrder::kChannelFirst),
                       patchify(v[0], kPatch, PatchOrder::kChannelLast)};
  });
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t y = 0; y < kSide; ++y)
      for (int64_t x = 0; x < kSide; ++x)
        for (int64_t c = 0; c < kChannels; ++c) {
          const float pixel = static_cast<float>(image.numbers[((b * kSide + y) * kSide + x) * kChannels + c]);
          const int64_t token = (b * kAcross + y / kPatch) * kAcross + x / kPatch, row = y % kPatch,
                        column = x % kPatch;
          ASSERT_EQ(tokens[0][token * 12 + (c * kPatch + row) * kPatch + column], pixel);
          ASSERT_EQ(tokens[1][token * 12 + (row * kPatch + column) * kChannels + c], pixel);
        }
}

TEST(Patchify, IsUndoneByUnpatchify) {
  const Operand image = integer_operand({2, 8, 8, 5}, 0);
  for (const PatchOrder order : {PatchOrder::kChannelFirst, PatchOrder::kChannelLast})
    EXPECT_EQ(
        evaluate({image}, [&](auto& v) { return std::vector{unpatchify(patchify(v[0], 4, order), 4, 5, order)}; })[0],
        image.numbers);
}

TEST(Embedding, NamesAnIndexOutsideTheTable) {
  const Operand table = integer_operand({4, 3}, 0), index{{DType::kI64, {2}}, {1, 4}};
  try {
    evaluate({table, index}, [](auto& v) { return std::vector{embedding(v[0], v[1])}; });
    FAIL() << "no error";
  } catch (const DeviceError& e) {
    EXPECT_NE(std::string(e.what()).find("index 4"), std::string::npos) << e.what();
  }
}

TEST(Embedding, GradientAddsTheRowsOfEqualIndices) {
  const Operand dy = integer_operand({4, 2}, 0), index{{DType::kI64, {4}}, {2, 0, 2, 2}};
  const auto& d = dy.numbers;
  const Numbers expected = {d[2], d[3], 0, 0, d[0] + d[4] + d[6], d[1] + d[5] + d[7]};
  EXPECT_EQ(evaluate({dy, index},
                     [](auto& v) {
                       return std::vector{embedding_grad(v[0], v[1], {3, 2})};
                     })[0],
            expected);
}

}  // namespace
}  // namespace shardit
