#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "tests/ops/evaluate.h"

namespace shardit {
namespace {

struct Problem {
  int64_t images, window, channels;
  int heads;
  int64_t tokens() const { return window * window; }
  int64_t table() const { return (2 * window - 1) * (2 * window - 1); }
};

std::vector<Operand> operands(const Problem& p) {
  return {normal_operand({p.images, p.tokens(), 3 * p.channels}, 0), normal_operand({p.images, 3 * p.channels}, 1),
          normal_operand({p.table(), p.heads}, 2)};
}

Formula attention_of(const Problem& p) {
  return [heads = p.heads](const std::vector<Value>& v) { return attention(v[0], v[1], v[2], heads); };
}

// DiffiT eq. 3-7 word for word, with the key part of the time token: out, lse without that part.
std::vector<Numbers> by_the_formula(const Problem& p, const std::vector<Operand>& in) {
  const int64_t n = p.tokens(), c = p.channels, d = c / p.heads, w = p.window;
  const auto part = [&](int64_t image, int64_t token, int third, int64_t channel) {
    return in[0].numbers[((image * n + token) * 3 + third) * c + channel] +
           in[1].numbers[(image * 3 + third) * c + channel];
  };
  std::vector<Numbers> result(2);
  result[0].resize(p.images * n * c);
  for (int64_t image = 0; image < p.images; ++image)
    for (int64_t head = 0; head < p.heads; ++head)
      for (int64_t i = 0; i < n; ++i) {
        Numbers logits(n);
        double sum = 0, shift = 0;
        for (int64_t j = 0; j < n; ++j) {
          double dot = 0;
          for (int64_t e = head * d; e < (head + 1) * d; ++e) dot += part(image, i, 0, e) * part(image, j, 1, e);
          const int64_t row = i / w - j / w + w - 1, column = i % w - j % w + w - 1;
          logits[j] =
              dot / std::sqrt(static_cast<double>(d)) + in[2].numbers[(row * (2 * w - 1) + column) * p.heads + head];
          sum += std::exp(logits[j]);
        }
        for (int64_t e = head * d; e < (head + 1) * d; ++e) {
          shift += part(image, i, 0, e) * in[1].numbers[(image * 3 + 1) * c + e] / std::sqrt(static_cast<double>(d));
          double out = 0;
          for (int64_t j = 0; j < n; ++j) out += std::exp(logits[j]) / sum * part(image, j, 2, e);
          result[0][(image * n + i) * c + e] = out;
        }
        result[1].push_back(std::log(sum) - shift);
      }
  return result;
}

void expect_near(const Numbers& a, const Numbers& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << "element " << i;
}

class Attention : public testing::TestWithParam<Problem> {};

TEST_P(Attention, MatchesTheFormula) {
  const auto in = operands(GetParam());
  const auto got = evaluate(in, attention_of(GetParam())), expected = by_the_formula(GetParam(), in);
  // fp32: logits of size 10 are off by 1e-6, and so are the probabilities.
  expect_near(got[0], expected[0], 2e-5);
  expect_near(got[1], expected[1], 2e-5);
}

TEST_P(Attention, TheKeyPartOfTheTimeTokenChangesNoBit) {
  const Problem p = GetParam();
  auto in = operands(p);
  const auto before = evaluate(in, attention_of(p));
  const Numbers other = normals(p.images * 3 * p.channels, 9);
  for (int64_t b = 0; b < p.images; ++b)
    for (int64_t c = p.channels; c < 2 * p.channels; ++c)
      in[1].numbers[b * 3 * p.channels + c] = other[b * 3 * p.channels + c];
  EXPECT_EQ(evaluate(in, attention_of(p)), before);
}

Formula gradient_of(const Problem& p) {
  return [heads = p.heads](const std::vector<Value>& v) {
    const auto out = attention(v[0], v[1], v[2], heads);
    return attention_grad(v[3], v[0], v[1], v[2], out[0], out[1], heads);
  };
}

std::vector<Operand> gradient_operands(const Problem& p) {
  auto in = operands(p);
  in.push_back(normal_operand({p.images, p.tokens(), p.channels}, 3));
  return in;
}

TEST_P(Attention, SinglePrecisionGradientMatchesDouble) {
  const auto in = gradient_operands(GetParam());
  const auto single = evaluate(in, gradient_of(GetParam())),
             twice = evaluate(in, gradient_of(GetParam()), {}, 1, DType::kF64);
  for (size_t k = 0; k < 3; ++k) {
    double largest = 0;
    for (double v : twice[k]) largest = std::max(largest, std::fabs(v));
    expect_near(single[k], twice[k], 2e-5 * largest);
  }
}

TEST_P(Attention, ThreadsChangeNoBit) {
  const auto in = gradient_operands(GetParam());
  EXPECT_EQ(evaluate(in, gradient_of(GetParam())), evaluate(in, gradient_of(GetParam()), {}, 3));
  EXPECT_EQ(evaluate(in, gradient_of(GetParam()), kBF16Everywhere),
            evaluate(in, gradient_of(GetParam()), kBF16Everywhere, 3));
}

TEST_P(Attention, TheGradientOfTheKeyPartIsExactlyZero) {
  const Problem p = GetParam();
  const auto grad = evaluate(gradient_operands(p), gradient_of(p));
  for (int64_t b = 0; b < p.images; ++b)
    for (int64_t c = p.channels; c < 2 * p.channels; ++c) ASSERT_EQ(grad[1][b * 3 * p.channels + c], 0);
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention,
                         testing::Values(Problem{3, 7, 24, 2}, Problem{2, 17, 12, 1}, Problem{2, 8, 64, 1},
                                         Problem{1, 5, 144, 2}, Problem{2, 4, 32, 2}, Problem{66, 3, 24, 2},
                                         Problem{1, 1, 5, 1}, Problem{1, 20, 72, 1}, Problem{1, 3, 200, 1}),
                         [](const auto& info) {
                           const Problem& p = info.param;
                           return "B" + std::to_string(p.images) + "N" + std::to_string(p.tokens()) + "C" +
                                  std::to_string(p.channels) + "H" + std::to_string(p.heads);
                         });

TEST(AttentionShapes, TokensMustBeASquareAndHeadsDivideTheChannels) {
  Graph g;
  const auto in = [&](const char* name, Shape shape) {
    return input(g, name, {DType::kF32, shape}, BufferClass::kActivations);
  };
  const Value time = in("time", {2, 36}), bias = in("bias", {9, 3});
  EXPECT_THROW(attention(in("a", {2, 6, 36}), time, bias, 3), UserError);
  EXPECT_THROW(attention(in("b", {2, 4, 36}), time, bias, 5), UserError);
  EXPECT_THROW(attention(in("c", {2, 4, 37}), time, bias, 3), UserError);
  EXPECT_THROW(attention(in("d", {2, 9, 36}), time, bias, 3), UserError);  // a table of 25 rows is expected
  EXPECT_NO_THROW(attention(in("e", {2, 4, 36}), time, bias, 3));
}

TEST(AttentionShapes, NoHeadsTimesTokensSquaredIsEverPlanned) {
  constexpr int64_t kImages = 4, kTokens = 1024, kChannels = 1152, kHeads = 16;
  Graph g;
  const auto in = [&](const char* name, Shape shape) {
    return input(g, name, {DType::kF32, shape}, BufferClass::kActivations);
  };
  const Value qkv = in("qkv", {kImages, kTokens, 3 * kChannels}), time = in("time", {kImages, 3 * kChannels}),
              bias = in("bias", {63 * 63, kHeads});
  const auto out = attention(qkv, time, bias, kHeads);
  attention_grad(out[0], qkv, time, bias, out[0], out[1], kHeads);
  const MemoryPlan plan = compile({{"g", g}}, 2).memory;
  const int64_t logits_of_an_image = kHeads * kTokens * kTokens * 4;  // 64 MiB
  EXPECT_GT(plan.workspace_bytes, 0);
  EXPECT_LT(plan.workspace_bytes, logits_of_an_image / 4);
}

}  // namespace
}  // namespace shardit
