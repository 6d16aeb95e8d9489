// The fixed two-level order in which micro-batch gradients are summed: a left fold inside groups of consecutive terms
// (inner), then a left fold of the groups in order (outer). First terms are assigned, not added to zero. Sums are fp32;
// a term comes in the type it was rounded to (precision.reduce: the caller casts it, whether it travels or not) and is
// added as it is. Up to `group` terms there is one group and the inner sum is the result.
//
// Rounds bring the terms in order, each as many as there are ranks, so the order does not depend on their number.
#include "ops/fold.h"

#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(fold_cuda);
DEVICE_KERNEL(sum_groups_cuda);

namespace {

// sum = first ? x : sum + x
template <typename S, typename X> void accumulate(bool first, const X* x, S* sum, int64_t n) {
  if (first)
    for (int64_t i = 0; i < n; ++i) sum[i] = static_cast<S>(x[i]);
  else
    for (int64_t i = 0; i < n; ++i) sum[i] += static_cast<S>(x[i]);
}

constexpr int64_t kTile = 4096;  // elements: the sums stay in the first-level cache while terms are added

// Adds term number `term` of the step. `outer` is null where there is one group.
template <typename S, typename X>
void add_term(const FoldOrder& o, int64_t term, const X* x, S* inner, S* outer, int64_t n) {
  accumulate(term % o.group == 0, x, inner, n);
  const bool group_ends = (term + 1) % o.group == 0 || term + 1 == o.terms;
  if (outer && group_ends) accumulate(term < o.group, inner, outer, n);
}

void fold_cpu(const KernelArgs& k) {  // inputs: gradient, counters, inner and perhaps outer
  const FoldOrder& o = k.attr<FoldAttrs>().order;
  const int64_t first = k.in[1].as<int64_t>()[1] / o.micro_batches * o.per_round, n = k.out[0].numel();
  CHECK(first >= 0 && first + o.per_round <= o.terms) << "fold: term " << first << " of " << o.terms;
  visit_real(k.in[0].dtype(), [&](auto tx) {
    using X = decltype(tx);
    using S = Accum<X>;
    for (const TensorRef& sum : k.out)
      CHECK(sum.dtype() == DTypeOf<S>::value) << "fold: an accumulator is " << name_of(sum.dtype());
    k.pool->run(tile_count(n, kTile), [&](int64_t t, int) {
      const Tile tile = tile_at(n, kTile, t);
      S* outer = k.out.size() > 1 ? k.out[1].as<S>() + tile.begin : nullptr;
      for (int64_t j = 0; j < o.per_round; ++j)
        add_term(o, first + j, k.in[0].as<X>() + j * n + tile.begin, k.out[0].as<S>() + tile.begin, outer,
                 tile.end - tile.begin);
    });
  });
}

void sum_groups_cpu(const KernelArgs& k) {
  const FoldOrder& o = k.attr<FoldAttrs>().order;
  const int64_t groups = o.terms / o.group, n = k.out[0].numel() / groups;
  visit_real(k.in[0].dtype(), [&](auto tx) {
    using X = decltype(tx);
    using S = Accum<X>;
    CHECK(k.out[0].dtype() == DTypeOf<S>::value) << "sum_groups: the sums are " << name_of(k.out[0].dtype());
    k.pool->run(groups * tile_count(n, kTile), [&](int64_t t, int) {
      const int64_t group = t % groups;
      const Tile tile = tile_at(n, kTile, t / groups);
      for (int64_t j = 0; j < o.group; ++j)
        accumulate(j == 0, k.in[0].as<X>() + (group * o.group + j) * n + tile.begin,
                   k.out[0].as<S>() + group * n + tile.begin, tile.end - tile.begin);
    });
  });
}

std::vector<Type> fold_shape(const NodeTypes& n) {
  const int64_t per_round = n.attr<FoldAttrs>().order.per_round;
  REQUIRE(n.in[1] == (Type{DType::kI64, {2}}), "the counters are " + n.in[1].str() + ", expected int64 [2]");
  for (size_t i = 2; i < n.in.size(); ++i)
    REQUIRE(n.in[i].shape.rank() == 1 && n.in[i].shape[0] * per_round == n.in[0].shape.numel(),
            "folds " + std::to_string(per_round) + " terms of a round, " + n.in[0].shape.str() +
                ", into an accumulator " + n.in[i].shape.str());
  return {n.in.begin() + 2, n.in.end()};
}

std::vector<Alias> fold_updates(const NodeTypes& n) {
  std::vector<Alias> updates;
  for (int i = 2; i < static_cast<int>(n.in.size()); ++i) updates.push_back({Alias::kUpdate, i, i - 2});
  return updates;
}

Sample fold_sample(const FoldOrder& order, int64_t micro_batch) {
  constexpr int64_t n = 5000;
  std::vector<Type> in = {
      {DType::kF32, {order.per_round * n}}, {DType::kI64, {2}}, {DType::kF32, {n}}, {DType::kF32, {n}}};
  if (order.one_group()) in.pop_back();
  return {.in = in,
          .build =
              [=](const std::vector<Value>& v) { return fold(v[2], v.size() > 3 ? v[3] : Value{}, v[0], v[1], order); },
          .integer = [=](int, int64_t i) { return i == 1 ? micro_batch : 0; }};
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
    .cuda = fold_cuda,
    .alias = fold_updates,
    .samples =
        [] {
          const FoldOrder five = {.terms = 5, .group = 2},
                          six = {.terms = 6, .group = 4, .per_round = 3, .micro_batches = 3};
          return Samples{fold_sample({.terms = 3, .group = 4}, 1),
                         fold_sample(five, 0),
                         fold_sample(five, 3),
                         fold_sample(five, 4),
                         fold_sample(six, 1),
                         fold_sample(six, 5)};
        },
};

const OpCard sum_groups_card = {
    .name = "sum_groups",
    .shape =
        [](const NodeTypes& n) {
          const FoldOrder& o = n.attr<FoldAttrs>().order;
          REQUIRE(n.in[0].shape.numel() % o.terms == 0,
                  std::to_string(o.terms) + " terms of one size are expected, " + n.in[0].shape.str() + " is given");
          return std::vector{n.real_of({n.in[0].shape.numel() / o.group})};
        },
    .cost =
        [](const NodeTypes& n) {
          return Cost{.flops = static_cast<double>(n.in[0].shape.numel()), .bytes = streamed(n)};
        },
    .in_roles = {Role::kAny},
    .out_roles = {Role::kExact},
    .cpu = sum_groups_cpu,
    .cuda = sum_groups_cuda,
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {6 * 5000}}},
                          .build = [](const std::vector<Value>& v) { return std::vector{sum_groups(v[0], 2, 3)}; }}};
        },
};

std::vector<Value> fold(Value inner, Value outer, Value gradient, Value counters, const FoldOrder& order) {
  REQUIRE(order.terms >= 1 && order.group >= 1 && order.per_round >= 1 && order.terms % order.per_round == 0,
          "fold: " + std::to_string(order.terms) + " terms in groups of " + std::to_string(order.group) + ", " +
              std::to_string(order.per_round) + " a round");
  CHECK_EQ(static_cast<bool>(outer), !order.one_group()) << "fold: an outer sum goes with more than one group";
  auto attrs = std::make_shared<FoldAttrs>();
  attrs->order = order;
  std::vector<Value> in = {gradient, counters, inner};
  if (outer) in.push_back(outer);
  return gradient.graph->add(fold_card, in, attrs);
}

Value sum_groups(Value terms, int64_t groups, int64_t group) {
  auto attrs = std::make_shared<FoldAttrs>();
  attrs->order = {.terms = groups * group, .group = group, .per_round = groups * group};
  return terms.graph->add1(sum_groups_card, {terms}, attrs);
}

}  // namespace shardit
