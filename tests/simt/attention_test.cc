// Attention's tensor core kernels on the CPU, against the CPU card in fp64. The sweep reaches the plain kernels only:
// samples are small, and these kernels are made for 16 x 16 and 32 x 32 tokens.
#include <gtest/gtest.h>

#include <cstring>

#include "core/cuda.h"
#include "ops/attention_device.h"
#include "tests/ops/evaluate.h"

namespace shardit {
namespace {

using namespace attention_device;

template <typename T> class Aligned {  // full of NaNs, or of given numbers
 public:
  explicit Aligned(int64_t n) : n_(n), data_(new (std::align_val_t{64}) T[n]) {
    std::memset(static_cast<void*>(data_), 0xff, n * sizeof(T));
  }
  explicit Aligned(const Numbers& numbers) : Aligned(static_cast<int64_t>(numbers.size())) {
    for (int64_t i = 0; i < n_; ++i) data_[i] = T(static_cast<float>(numbers[i]));
  }
  ~Aligned() { operator delete[](data_, std::align_val_t{64}); }
  Aligned(const Aligned&) = delete;
  T* data() const { return data_; }
  Numbers numbers() const { return Numbers(data_, data_ + n_); }

 private:
  int64_t n_;
  T* data_;
};

// qkv, qkv_time, bias, dout in bf16.
std::vector<Operand> operands(const Sizes& z) {
  const int64_t b = z.images, n = z.tokens, c = z.channels();
  std::vector<Operand> in = {normal_operand({b, n, 3 * c}, 0), normal_operand({b, 3 * c}, 1),
                             normal_operand({z.table(), z.heads}, 2), normal_operand({b, n, c}, 3)};
  for (Operand& x : in)
    for (double& v : x.numbers) v = BF16(static_cast<float>(v));
  return in;
}

std::vector<Numbers> in_double(const Sizes& z, const std::vector<Operand>& in) {
  const Formula formula = [heads = z.heads](const std::vector<Value>& v) {
    const auto out = attention(v[0], v[1], v[2], heads);
    auto all = attention_grad(v[3], v[0], v[1], v[2], out[0], out[1], heads);
    all.insert(all.begin(), out.begin(), out.end());
    return all;
  };
  return evaluate(in, formula, {}, 1, DType::kF64);
}

// out, lse, dqkv, dqkv_time, dbias of the device kernels, under an order of threads.
std::vector<Numbers> on_device(const Sizes& z, Way way, const std::vector<Operand>& in, uint64_t order_seed) {
  const simt::Order order(order_seed);
  const Aligned<BF16> qkv(in[0].numbers), time(in[1].numbers), bias(in[2].numbers), dout(in[3].numbers);
  const int64_t elements = static_cast<int64_t>(z.images) * z.tokens * z.channels();
  const Aligned<BF16> out(elements), dqkv(3 * elements), dtime(int64_t{3} * z.images * z.channels());
  const Aligned<float> lse(int64_t{z.images} * z.heads * z.tokens), dbias(int64_t{z.table()} * z.heads);
  const Aligned<std::byte> workspace(Workspace(z, nullptr).bytes);
  forward(z, {qkv.data(), time.data(), bias.data(), out.data(), lse.data()}, way, nullptr);
  backward(z,
           {.dout = dout.data(),
            .qkv = qkv.data(),
            .qkv_time = time.data(),
            .bias = bias.data(),
            .lse = lse.data(),
            .out = out.data(),
            .dqkv = dqkv.data(),
            .dqkv_time = dtime.data(),
            .dbias = dbias.data(),
            .workspace = workspace.data()},
           way, nullptr);
  return {out.numbers(), lse.numbers(), dqkv.numbers(), dtime.numbers(), dbias.numbers()};
}

// Root mean square of the difference over that of the reference.
double distance(const Numbers& got, const Numbers& expected) {
  double difference = 0, magnitude = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    magnitude += expected[i] * expected[i];
  }
  return std::sqrt(difference / magnitude);
}

Sizes sizes(int images, int window, int heads, int depth) {
  return {images, window * window, window, heads, depth, DType::kBF16};
}

using Case = std::pair<Way, Sizes>;

std::string case_name(const testing::TestParamInfo<Case>& info) {
  const auto& [way, z] = info.param;
  return std::string(way == Way::kWarps ? "Warps" : "Warpgroups") + "B" + std::to_string(z.images) + "N" +
         std::to_string(z.tokens) + "H" + std::to_string(z.heads) + "D" + std::to_string(z.depth);
}

class TensorAttention : public testing::TestWithParam<Case> {};
class TensorAttentionOrder : public testing::TestWithParam<Case> {};

TEST_P(TensorAttention, IsNearDoublePrecision) {
  const auto& [way, z] = GetParam();
  ASSERT_TRUE(on_tensor_cores(z));
  const auto in = operands(z);
  const auto got = on_device(z, way, in, 0), expected = in_double(z, in);
  // q + q_t, p, dl and the results are rounded to bf16, 1.1e-3 each in the root mean square; lse only by q + q_t.
  constexpr double kTolerances[] = {3e-3, 5e-4, 6e-3, 6e-3, 6e-3};
  for (size_t k = 0; k < got.size(); ++k) {
    ASSERT_EQ(got[k].size(), expected[k].size());
    EXPECT_LT(distance(got[k], expected[k]), kTolerances[k]) << "result " << k;
  }
}

// The running softmax changes its reference when a logit exceeds it by far, as these do.
class TensorAttentionLogits : public testing::TestWithParam<Way> {};
TEST_P(TensorAttentionLogits, MayGrowAlongTheKeys) {
  const Way way = GetParam();
  const Sizes z = sizes(1, 16, 1, 72);
  auto in = operands(z);
  for (double& bias : in[2].numbers) bias = BF16(static_cast<float>(6 * bias));
  const auto got = on_device(z, way, in, 0), expected = in_double(z, in);
  // dl is a small difference where one p is near 1, so that the rounding of out, in delta, weighs more.
  for (size_t k = 0; k < got.size(); ++k) EXPECT_LT(distance(got[k], expected[k]), 1.2e-2) << "result " << k;
}

TEST_P(TensorAttentionOrder, ChangesNoBit) {
  const auto& [way, z] = GetParam();
  const auto in = operands(z);
  const auto ascending = on_device(z, way, in, 0);
  for (uint64_t seed : {1, 2}) EXPECT_EQ(on_device(z, way, in, seed), ascending) << "order " << seed;
}

std::vector<Case> both_ways(std::initializer_list<Sizes> shapes) {
  std::vector<Case> cases;
  for (const Way way : {Way::kWarps, Way::kWarpgroups})
    for (const Sizes& z : shapes) cases.emplace_back(way, z);
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Shapes, TensorAttention,
                         testing::ValuesIn(both_ways({sizes(2, 16, 2, 72), sizes(1, 16, 3, 64), sizes(3, 32, 1, 72),
                                                      sizes(1, 32, 1, 64)})),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Shapes, TensorAttentionOrder,
                         testing::ValuesIn(both_ways({sizes(1, 16, 2, 72), sizes(1, 16, 1, 64)})), case_name);
INSTANTIATE_TEST_SUITE_P(Ways, TensorAttentionLogits, testing::Values(Way::kWarps, Way::kWarpgroups));

}  // namespace
}  // namespace shardit
