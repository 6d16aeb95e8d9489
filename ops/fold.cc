// One round of the fixed two-level order in which micro-batch gradients are summed: a left fold inside groups of
// `group` consecutive rounds (inner), then a left fold of the groups in order (outer). First terms are assigned, not
// added to zero. Sums are fp32; a term comes in the type it was rounded to (precision.reduce: the caller casts it,
// whether it travels or not) and is added as it is. Up to `group` rounds there is one group and the inner sum is the
// result.
#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {
namespace {

struct FoldAttrs : Attrs {
  int64_t rounds = 1, group = 1;
  std::string text() const override { return std::to_string(rounds) + " in groups of " + std::to_string(group); }
};

// sum = first ? x : sum + x
template <typename S, typename X> void accumulate(bool first, const X* x, S* sum, int64_t n) {
  if (first)
    for (int64_t i = 0; i < n; ++i) sum[i] = static_cast<S>(x[i]);
  else
    for (int64_t i = 0; i < n; ++i) sum[i] += static_cast<S>(x[i]);
}

constexpr int64_t kTile = 4096;  // elements: inner and outer stay in the first-level cache between the two sums

void fold_cpu(const KernelArgs& k) {  // inputs: gradient, counters, inner and perhaps outer
  const FoldAttrs& a = k.attr<FoldAttrs>();
  const int64_t round = k.in[1].as<int64_t>()[1], n = k.out[0].numel();
  CHECK(round >= 0 && round < a.rounds) << "fold: round " << round << " of " << a.rounds;
  const bool group_ends = (round + 1) % a.group == 0 || round + 1 == a.rounds;
  const bool to_outer = k.out.size() > 1 && group_ends;
  visit_real(k.in[0].dtype(), [&](auto tx) {
    using X = decltype(tx);
    using S = Accum<X>;
    for (const TensorRef& sum : k.out)
      CHECK(sum.dtype() == DTypeOf<S>::value) << "fold: an accumulator is " << name_of(sum.dtype());
    k.pool->run(tile_count(n, kTile), [&](int64_t t, int) {
      const Tile tile = tile_at(n, kTile, t);
      S* inner = k.out[0].as<S>() + tile.begin;
      accumulate(round % a.group == 0, k.in[0].as<X>() + tile.begin, inner, tile.end - tile.begin);
      if (to_outer) accumulate(round < a.group, inner, k.out[1].as<S>() + tile.begin, tile.end - tile.begin);
    });
  });
}

std::vector<Type> fold_shape(const NodeTypes& n) {
  REQUIRE(n.in[1] == (Type{DType::kI64, {2}}), "the counters are " + n.in[1].str() + ", expected int64 [2]");
  for (size_t i = 2; i < n.in.size(); ++i)
    REQUIRE(n.in[i].shape == n.in[0].shape,
            "folds a gradient " + n.in[0].shape.str() + " into an accumulator " + n.in[i].shape.str());
  return {n.in.begin() + 2, n.in.end()};
}

std::vector<Alias> fold_updates(const NodeTypes& n) {
  std::vector<Alias> updates;
  for (int i = 2; i < static_cast<int>(n.in.size()); ++i) updates.push_back({Alias::kUpdate, i, i - 2});
  return updates;
}

Sample fold_sample(int64_t rounds, int64_t group, int64_t round) {
  std::vector<Type> in = {{DType::kF32, {5000}}, {DType::kI64, {2}}, {DType::kF32, {5000}}, {DType::kF32, {5000}}};
  if (rounds <= group) in.pop_back();
  return {.in = in,
          .build =
              [=](const std::vector<Value>& v) {
                return fold(v[2], v.size() > 3 ? v[3] : Value{}, v[0], v[1], rounds, group);
              },
          .integer = [=](int, int64_t i) { return i == 1 ? round : 0; }};
}

}  // namespace

const OpCard fold_card = {
    .name = "fold",
    .shape = fold_shape,
    .cost =
        [](const NodeTypes& n) {
          return Cost{.flops = static_cast<double>(n.in[0].shape.numel()), .bytes = streamed(n)};
        },
    .in_roles = {Role::kAny, Role::kFixed, Role::kExact},
    .out_roles = {Role::kExact},
    .cpu = fold_cpu,
    .alias = fold_updates,
    .samples =
        [] {
          return Samples{fold_sample(3, 4, 1), fold_sample(5, 2, 0), fold_sample(5, 2, 3), fold_sample(5, 2, 4)};
        },
};

std::vector<Value> fold(Value inner, Value outer, Value gradient, Value counters, int64_t rounds, int64_t group) {
  REQUIRE(rounds >= 1 && group >= 1,
          "fold: " + std::to_string(rounds) + " rounds in groups of " + std::to_string(group));
  CHECK_EQ(static_cast<bool>(outer), rounds > group) << "fold: an outer sum goes with more than one group";
  auto attrs = std::make_shared<FoldAttrs>();
  attrs->rounds = rounds;
  attrs->group = group;
  std::vector<Value> in = {gradient, counters, inner};
  if (outer) in.push_back(outer);
  return gradient.graph->add(fold_card, in, attrs);
}

}  // namespace shardit
