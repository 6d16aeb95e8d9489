#include <cmath>
#include <map>
#include <numeric>

#include "ops/cast.h"
#include "tests/ops/case.h"

namespace shardit {
namespace {

using Wide = __int128;

Wide exact(const std::vector<int64_t>& limbs) { return limbs[0] + (Wide(limbs[1]) << 48) + (Wide(limbs[2]) << 96); }

std::vector<int64_t> limbs_of(const std::vector<float>& flat, int threads = 1) {
  Case c;
  c.out("limbs", square_sum(c.in("x", {DType::kF32, {static_cast<int64_t>(flat.size())}})));
  c.compile(threads);
  c.set("x", flat);
  c.run();
  return c.get<int64_t>("limbs");
}

std::vector<float> chunks_in_order(const std::vector<float>& flat, const std::vector<int64_t>& order) {
  std::vector<float> result;
  for (int64_t c : order) result.insert(result.end(), flat.begin() + c * kChunk, flat.begin() + (c + 1) * kChunk);
  return result;
}

// Gradients whose chunks differ in size by up to 2^60.
std::vector<float> uneven_gradient(int64_t chunks) {
  std::vector<float> x = normals(1, chunks * kChunk);
  for (int64_t i = 0; i < chunks * kChunk; ++i) x[i] = std::ldexp(x[i], static_cast<int>((i / kChunk) * 37 % 30) - 25);
  return x;
}

TEST(SquareSum, IsTheSameForAnyOrderOfChunksAndAnyThreads) {
  const int64_t n = 200;
  const auto x = uneven_gradient(n);
  std::vector<int64_t> order(n);
  for (int64_t i = 0; i < n; ++i) order[i] = (i * 73 + 11) % n;
  EXPECT_EQ(limbs_of(x), limbs_of(chunks_in_order(x, order)));
  EXPECT_EQ(limbs_of(x), limbs_of(x, 3));
}

TEST(SquareSum, PartsAddElementByElement) {
  const int64_t n = 150;
  const auto x = uneven_gradient(n);
  const auto a = limbs_of({x.begin(), x.begin() + 70 * kChunk}), b = limbs_of({x.begin() + 70 * kChunk, x.end()});
  std::vector<int64_t> sum(4);
  for (int i = 0; i < 4; ++i) sum[i] = a[i] + b[i];
  EXPECT_EQ(exact(sum), exact(limbs_of(x)));
}

// One number k 2^e per chunk: its square k^2 2^(2e), k < 2^24, is exact in fp64, and the sum in 128 bits of 2^-96.
TEST(SquareSum, EqualsTheExactSum) {
  const int64_t n = 3000;
  std::vector<float> x(n * kChunk, 0.0f);
  Wide expected = 0;
  for (int64_t c = 0; c < n; ++c) {
    const int64_t k = bits_at(Philox(3, Purpose::kSynthetic), 0, c) >> 8;
    const int e = -12 - static_cast<int>(c % 37);  // squares from 2^-96 to 2^24
    x[c * kChunk + c % kChunk] = std::ldexp(static_cast<float>(k), e);
    expected += Wide(k) * k << (96 + 2 * e);
  }
  const auto limbs = limbs_of(x);
  EXPECT_TRUE(exact(limbs) == expected);
  EXPECT_LT(limbs[0], int64_t{1} << 48);
  EXPECT_LT(limbs[1], int64_t{1} << 48);
  EXPECT_EQ(limbs[3], 0);
}

TEST(SquareSum, RoundsWhatLiesBelowItsRangeAndFlagsWhatLiesAbove) {
  std::vector<float> x(4 * kChunk, 0.0f);
  x[0] = 0x1p-49f;             // its square 2^-98 is a quarter of the unit
  x[kChunk] = 0x1p-48f;        // 2^-96: one unit
  x[2 * kChunk] = 0x1.fp-49f;  // 0.94 of it
  EXPECT_EQ(limbs_of(x), (std::vector<int64_t>{2, 0, 0, 0}));
  x[3 * kChunk] = 0x1p19f;
  EXPECT_EQ(limbs_of(x), (std::vector<int64_t>{2, 0, 0, 1}));
  x[2 * kChunk] = INFINITY;
  x[kChunk + 5] = NAN;
  EXPECT_EQ(limbs_of(x), (std::vector<int64_t>{0, 0, 0, 3}));
}

std::vector<double> norm_of(const std::vector<float>& x, double clip) {
  Case c;
  const Value flat = c.in("x", {DType::kF32, {static_cast<int64_t>(x.size())}});
  c.out("norm", gradient_norm(concat_last({square_sum(flat), square_sum(flat)}), 2, clip)[0]);
  c.compile();
  c.set("x", x);
  c.run();
  return c.get<double>("norm");
}

TEST(GradientNorm, ClipsToTheGivenNorm) {
  std::vector<float> x(kChunk, 0.0f);
  x[3] = 3, x[4] = 4;
  const double norm = std::sqrt(50.0);
  EXPECT_EQ(norm_of(x, 0), (std::vector<double>{norm, 1, 1}));
  EXPECT_EQ(norm_of(x, 100), (std::vector<double>{norm, 1, 1}));
  EXPECT_EQ(norm_of(x, 2), (std::vector<double>{norm, 2 / norm, 1}));
  x[5] = NAN;
  EXPECT_TRUE(std::isnan(norm_of(x, 2)[0]));
  EXPECT_EQ(norm_of(x, 2)[2], 0);
}

TEST(GradientNorm, IsAlsoGivenForEachUnitOverItsShards) {
  Case c;
  std::vector<Value> limbs;
  for (const char* name : {"a0", "b0", "a1", "b1"}) limbs.push_back(square_sum(c.in(name, {DType::kF32, {kChunk}})));
  const std::vector<Value> norms = gradient_norm(concat_last(limbs), 2, 0);  // two shards of units a and b
  c.out("norm", norms[0]);
  c.out("norms", norms[1]);
  c.compile();
  const std::map<std::string, float> values = {{"a0", 3}, {"b0", 5}, {"a1", 4}, {"b1", 12}};
  for (const auto& [name, value] : values) {
    std::vector<float> x(kChunk, 0.0f);
    x[7] = value;
    c.set(name, x);
  }
  c.run();
  EXPECT_EQ(c.get<double>("norms"), (std::vector<double>{5, 13}));
  EXPECT_EQ(c.get<double>("norm")[0], std::sqrt(194.0));
  std::vector<float> x(kChunk, INFINITY);
  c.set("b1", x);
  c.run();
  EXPECT_EQ(c.get<double>("norms")[0], 5);
  EXPECT_TRUE(std::isnan(c.get<double>("norms")[1])) << "the unit that is not finite";
}

// ---- fold --------------------------------------------------------------------------------------------------------

std::vector<float> documented_fold(const std::vector<std::vector<float>>& terms, size_t group) {
  std::vector<float> total;
  for (size_t g = 0; g * group < terms.size(); ++g) {
    std::vector<float> sum = terms[g * group];
    for (size_t r = g * group + 1; r < std::min(terms.size(), (g + 1) * group); ++r)
      for (size_t i = 0; i < sum.size(); ++i) sum[i] = sum[i] + terms[r][i];
    if (g == 0)
      total = sum;
    else
      for (size_t i = 0; i < sum.size(); ++i) total[i] = total[i] + sum[i];
  }
  return total;
}

constexpr int64_t kFolded = 300;  // elements

// `count` terms, with a first element that an accumulator which starts from zero would turn from -0 to 0.
std::vector<std::vector<float>> fold_terms(int64_t count) {
  std::vector<std::vector<float>> terms;
  for (int64_t t = 0; t < count; ++t) {
    terms.push_back(normals(t, kFolded, std::ldexp(1.0f, static_cast<int>(t % 5))));
    terms.back()[0] = -0.0f;
  }
  return terms;
}

// Terms [first, first + count), one after another.
std::vector<float> joined(const std::vector<std::vector<float>>& terms, int64_t first, int64_t count) {
  std::vector<float> all;
  for (int64_t t = first; t < first + count; ++t) all.insert(all.end(), terms[t].begin(), terms[t].end());
  return all;
}

void expect_bits(const std::vector<float>& sum, const std::vector<float>& expected, const std::string& what) {
  ASSERT_EQ(sum.size(), expected.size());
  for (size_t i = 0; i < sum.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(sum[i]), std::bit_cast<uint32_t>(expected[i])) << what << ", " << i;
}

// The order in which `ranks` ranks bring `count` terms, folded by rank `rank`. With `inner_first`, whole groups are
// summed before they travel.
void expect_folds(int64_t count, int64_t group, int64_t ranks, int64_t rank, bool inner_first = false) {
  const Type flat = {DType::kF32, {kFolded}};
  Case c;
  const FoldOrder order = inner_first ? FoldOrder{count / group, count / group, ranks / group, ranks}
                                      : FoldOrder{count, group, ranks, ranks};
  const Value inner = c.in("inner", flat), outer = order.one_group() ? Value{} : c.in("outer", flat);
  const Value counters = c.in("counters", {DType::kI64, {2}});
  Value terms_of_round = c.in("g", {DType::kF32, {ranks * kFolded}});
  if (inner_first) terms_of_round = sum_groups(terms_of_round, ranks / group, group);
  c.out("sum", fold(inner, outer, terms_of_round, counters, order).back());
  c.compile();
  c.set("inner", std::vector<float>(kFolded, NAN));
  if (outer) c.set("outer", std::vector<float>(kFolded, NAN));
  const auto terms = fold_terms(count);
  for (int64_t first = 0; first < count; first += ranks) {
    c.set("g", joined(terms, first, ranks));
    c.set("counters", std::vector<int64_t>{1000, first + rank});
    c.run();
  }
  expect_bits(c.get<float>("sum"), documented_fold(terms, group),
              std::to_string(count) + " terms by " + std::to_string(group) + ", " + std::to_string(ranks) + " a round");
}

TEST(Fold, IsTheDocumentedLeftFold) {
  for (int64_t terms = 1; terms <= 20; ++terms)
    for (int64_t group : {1, 3, 8}) expect_folds(terms, group, 1, 0);
}

TEST(Fold, AnyNumberOfRanksBringsTheSameSum) {
  for (int64_t ranks : {1, 2, 3, 4, 6, 12})
    for (int64_t group : {1, 4, 5, 12})
      for (int64_t rank : {int64_t{0}, ranks - 1}) expect_folds(12, group, ranks, rank);
}

TEST(Fold, GroupsThatWereSummedBeforeTheyTravelGiveTheSameSum) {
  expect_folds(12, 2, 4, 0, true);
  expect_folds(12, 2, 4, 3, true);
  expect_folds(12, 3, 6, 4, true);
  expect_folds(12, 4, 12, 11, true);
}

TEST(Fold, TakesTermsInTheTypeTheyWereRoundedTo) {
  Case c;
  const Type flat = {DType::kF32, {2}};
  const Value term = cast(c.in("g", flat), DType::kBF16);
  c.out("sum", fold(c.in("inner", flat), {}, term, c.in("counters", {DType::kI64, {2}}), {.terms = 2})[0]);
  c.compile();
  c.set("g", std::vector<float>{1 + 0x1p-7f, 1 + 0x1p-9f});
  for (int64_t r : {0, 1}) {
    c.set("counters", std::vector<int64_t>{0, r});
    c.run();
  }
  EXPECT_EQ(c.get<float>("sum"), (std::vector<float>{2 + 0x1p-6f, 2.0f}));
}

// ---- adamw -------------------------------------------------------------------------------------------------------

struct AdamWCase : Case {
  static constexpr int64_t n = 20 * kChunk;
  AdamWAttrs attrs;

  explicit AdamWCase(double clip, bool copy = false) {
    attrs.weight_decay = 0.1;
    attrs.emas = 2;
    const Type flat = {DType::kF32, {n}};
    const Value gradient = in("g", flat), norm = gradient_norm(square_sum(gradient), 1, clip)[0];
    const AdamWState state = {in("p", flat), in("m", flat), in("v", flat), {in("e0", flat), in("e1", flat)}};
    const auto next = adamw(state, gradient, norm, in("numbers", {DType::kF64, {5}}), attrs, copy);
    const char* names[] = {"p'", "m'", "v'", "e0'", "e1'", "copy"};
    for (size_t i = 0; i < next.size(); ++i) out(names[i], next[i]);
    if (copy) graph = apply_precision(graph, {.compute = DType::kBF16});
    compile(2);
    for (const char* name : {"m", "v"}) set(name, std::vector<float>(n, 0.0f));
    for (const char* name : {"p", "e0", "e1"}) set(name, normals(100, n));
  }
  void step(int t, const std::vector<float>& g) {
    set("g", g);
    set("numbers", std::vector<double>{1e-2, 1 - std::pow(0.9, t), 1 - std::pow(0.999, t), 0.9, 0.5});
    run();
  }
};

TEST(AdamW, FollowsAPlainDoubleLoop) {
  const double clip = 3;
  AdamWCase c(clip);
  const auto start = normals(100, c.n);
  std::vector<double> p(start.begin(), start.end()), m(c.n), v(c.n), e0 = p, e1 = p;
  for (int t = 1; t <= 5; ++t) {
    const auto g = normals(t, c.n, t == 2 ? 1e-3f : 1.0f);  // step 2 is not clipped
    double square = 0;
    for (float x : g) square += double(x) * x;
    const double factor = std::sqrt(square) > clip ? clip / std::sqrt(square) : 1;
    EXPECT_EQ(factor == 1, t == 2);
    for (int64_t i = 0; i < c.n; ++i) {
      const double gi = factor * g[i], lr = 1e-2;
      p[i] *= 1 - lr * 0.1;
      m[i] = 0.9 * m[i] + 0.1 * gi;
      v[i] = 0.999 * v[i] + 0.001 * gi * gi;
      p[i] -= lr / (1 - std::pow(0.9, t)) * m[i] / (std::sqrt(v[i] / (1 - std::pow(0.999, t))) + 1e-8);
      e0[i] += (1 - 0.9) * (p[i] - e0[i]);
      e1[i] += (1 - 0.5) * (p[i] - e1[i]);
    }
    c.step(t, g);
  }
  const auto near = [&](const char* name, const std::vector<double>& x, double tolerance) {
    const auto y = c.get<float>(name);
    for (int64_t i = 0; i < c.n; ++i) ASSERT_NEAR(y[i], x[i], tolerance * (std::fabs(x[i]) + 0.01)) << name << " " << i;
  };
  near("p'", p, 1e-5);  // fp32: the quotient m / sqrt(v) of clipped, cancelling moments is good to some 1e-5 of a step
  near("m'", m, 1e-6);
  near("v'", v, 1e-6);
  near("e0'", e0, 1e-5);
  near("e1'", e1, 1e-5);
}

// Gradients as small as eps: whether eps is added before or after the root changes the step by a large factor.
TEST(AdamW, EpsilonIsAddedToTheRoot) {
  AdamWCase c(0);
  c.step(1, std::vector<float>(c.n, 1e-8f));
  const double p = normals(100, c.n)[7];
  EXPECT_NEAR(c.get<float>("p'")[7], p * (1 - 1e-3) - 1e-2 * 0.5, 1e-6);
}

TEST(AdamW, WritesNothingIfTheNormIsNotFinite) {
  AdamWCase c(1, true);
  c.step(1, normals(1, c.n));
  std::vector<std::vector<float>> before;
  for (const char* name : {"p'", "m'", "v'", "e0'", "e1'"}) before.push_back(c.get<float>(name));
  auto g = normals(2, c.n);
  g[5000] = NAN;
  c.step(2, g);
  int i = 0;
  for (const char* name : {"p'", "m'", "v'", "e0'", "e1'"}) EXPECT_EQ(c.get<float>(name), before[i++]) << name;
}

TEST(AdamW, TheComputeCopyIsTheRoundedWeight) {
  AdamWCase c(1, true);
  c.step(1, normals(1, c.n));
  const auto p = c.get<float>("p'");
  const auto copy = c.get<BF16>("copy");
  for (int64_t i = 0; i < c.n; ++i) ASSERT_EQ(copy[i].bits, BF16(p[i]).bits);
}

}  // namespace
}  // namespace shardit
