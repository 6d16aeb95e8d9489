// Cutting and joining: along the innermost axis (copies) and along the first (cutting there makes windows, no copies).
// Each cut is the gradient of a join and the other way round; a piece without a gradient counts as zeros.
#include "ops/split.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(split_last_cuda);
DEVICE_KERNEL(concat_last_cuda);
DEVICE_KERNEL(concat_first_cuda);

namespace {

std::shared_ptr<PiecesAttrs> pieces(std::vector<int64_t> sizes) {
  auto attrs = std::make_shared<PiecesAttrs>();
  attrs->sizes = std::move(sizes);
  return attrs;
}

// Joins `parts`, of which some may be empty, with a card.
Value join(Graph& graph, const OpCard& card, const std::vector<Value>& parts, std::vector<int64_t> sizes) {
  auto attrs = pieces(std::move(sizes));
  std::vector<Value> in;
  for (const Value& part : parts) {
    attrs->input.push_back(part ? static_cast<int>(in.size()) : -1);
    if (part) in.push_back(part);
  }
  return graph.add1(card, in, attrs);
}

// n elements from one tensor into another, converted where their types differ.
void copy_elements(const TensorRef& from, int64_t i, const TensorRef& to, int64_t j, int64_t n) {
  const size_t size = size_of(to.dtype());
  if (from.dtype() == to.dtype()) {
    std::memcpy(to.as<std::byte>() + j * static_cast<int64_t>(size),
                from.as<std::byte>() + i * static_cast<int64_t>(size), static_cast<size_t>(n) * size);
    return;
  }
  visit_real(from.dtype(), to.dtype(), [&](auto tx, auto ty) {
    using X = decltype(tx);
    using Y = decltype(ty);
    for (int64_t e = 0; e < n; ++e) to.as<Y>()[j + e] = Y(static_cast<Accum<X>>(from.as<X>()[i + e]));
  });
}

void zero_elements(const TensorRef& to, int64_t j, int64_t n) {
  const auto size = static_cast<int64_t>(size_of(to.dtype()));
  std::memset(to.as<std::byte>() + j * size, 0, static_cast<size_t>(n * size));
}

// body(first row, end row) over the rows of a tensor `width` wide.
template <typename F> void for_rows(Pool& pool, int64_t rows, int64_t width, F&& body) {
  const int64_t grain = std::max<int64_t>(1, kPointwiseTile / std::max<int64_t>(width, 1));
  pool.run(tile_count(rows, grain), [&](int64_t t, int) {
    const Tile tile = tile_at(rows, grain, t);
    body(tile.begin, tile.end);
  });
}

void split_last_cpu(const KernelArgs& k) {
  const auto& sizes = k.attr<PiecesAttrs>().sizes;
  const int64_t width = k.in[0].shape()[-1], rows = width == 0 ? 0 : k.in[0].numel() / width;
  for_rows(*k.pool, rows, width, [&](int64_t begin, int64_t end) {
    int64_t column = 0;
    for (size_t p = 0; p < sizes.size(); column += sizes[p++])
      for (int64_t r = begin; r < end; ++r)
        copy_elements(k.in[0], r * width + column, k.out[p], r * sizes[p], sizes[p]);
  });
}

void concat_last_cpu(const KernelArgs& k) {
  const PiecesAttrs& a = k.attr<PiecesAttrs>();
  const int64_t width = a.total(), rows = width == 0 ? 0 : k.out[0].numel() / width;
  for_rows(*k.pool, rows, width, [&](int64_t begin, int64_t end) {
    int64_t column = 0;
    for (size_t p = 0; p < a.sizes.size(); column += a.sizes[p++])
      for (int64_t r = begin; r < end; ++r) {
        const int64_t to = r * width + column;
        if (a.input[p] < 0)
          zero_elements(k.out[0], to, a.sizes[p]);
        else
          copy_elements(k.in[a.input[p]], r * a.sizes[p], k.out[0], to, a.sizes[p]);
      }
  });
}

void concat_first_cpu(const KernelArgs& k) {
  const PiecesAttrs& a = k.attr<PiecesAttrs>();
  const int64_t unit = k.out[0].numel() / a.total();
  int64_t to = 0;
  for (size_t p = 0; p < a.sizes.size(); ++p) {
    const int64_t n = a.sizes[p] * unit;
    k.pool->run(tile_count(n, kPointwiseTile), [&](int64_t t, int) {
      const Tile tile = tile_at(n, kPointwiseTile, t);
      if (a.input[p] < 0)
        zero_elements(k.out[0], to + tile.begin, tile.end - tile.begin);
      else
        copy_elements(k.in[a.input[p]], tile.begin, k.out[0], to + tile.begin, tile.end - tile.begin);
    });
    to += n;
  }
}

std::vector<Type> split_last_shape(const NodeTypes& n) {
  const PiecesAttrs& a = n.attr<PiecesAttrs>();
  const Shape& x = n.in[0].shape;
  REQUIRE(x.rank() >= 1 && x[-1] == a.total(),
          "cuts the innermost axis of " + x.str() + " into " + join_text(a.sizes) + " = " + std::to_string(a.total()));
  std::vector<Type> types;
  for (int64_t size : a.sizes) types.push_back({n.in[0].dtype, x.with(-1, size)});
  return types;
}

std::vector<Type> concat_last_shape(const NodeTypes& n) {
  const PiecesAttrs& a = n.attr<PiecesAttrs>();
  for (size_t p = 0; p < a.input.size(); ++p) {
    if (a.input[p] < 0) continue;
    const Shape expected = n.in[0].shape.with(-1, a.sizes[p]);
    REQUIRE(n.in_shape(a.input[p]) == expected, "piece " + std::to_string(p) + " is " + n.in_shape(a.input[p]).str() +
                                                    ", beside " + n.in[0].shape.str() + " it must be " +
                                                    expected.str());
  }
  return {{n.in[0].dtype, n.in[0].shape.with(-1, a.total())}};
}

std::vector<Type> split_first_shape(const NodeTypes& n) {
  const PiecesAttrs& a = n.attr<PiecesAttrs>();
  const Shape& x = n.in[0].shape;
  REQUIRE(x.rank() >= 1 && x[0] % a.total() == 0,
          "cuts the first axis of " + x.str() + " in the ratio " + join_text(a.sizes) + ", of which it is no multiple");
  std::vector<Type> types;
  for (int64_t size : a.sizes) types.push_back({n.in[0].dtype, x.with(0, x[0] / a.total() * size)});
  return types;
}

std::vector<Type> concat_first_shape(const NodeTypes& n) {
  const PiecesAttrs& a = n.attr<PiecesAttrs>();
  const auto given = static_cast<size_t>(std::find(a.input.begin(), a.input.end(), 0) - a.input.begin());
  const Shape& x = n.in[0].shape;
  const int64_t unit = x[0] / std::max<int64_t>(a.sizes[given], 1);
  for (size_t p = 0; p < a.input.size(); ++p) {
    if (a.input[p] < 0) continue;
    const Shape expected = x.with(0, unit * a.sizes[p]);
    REQUIRE(n.in_shape(a.input[p]) == expected, "piece " + std::to_string(p) + " is " + n.in_shape(a.input[p]).str() +
                                                    ", beside " + x.str() + " it must be " + expected.str());
  }
  return {{n.in[0].dtype, x.with(0, unit * a.total())}};
}

std::vector<Alias> split_first_windows(const NodeTypes& n) {
  std::vector<Alias> windows;
  int64_t offset = 0;
  for (size_t p = 0; p < n.out.size(); ++p) {
    windows.push_back({Alias::kView, 0, static_cast<int>(p), offset});
    offset += n.out[p].shape.numel();
  }
  return windows;
}

Cost moved(const NodeTypes& n) { return {.bytes = streamed(n)}; }

std::vector<Value> both_halves(Value x) {
  const auto [a, b] = halves(x);
  return {a, b};
}

std::vector<Value> split_first(Value x, std::vector<int64_t> ratio) {
  return x.graph->add(split_first_card, {x}, pieces(std::move(ratio)));
}

}  // namespace

const OpCard split_last_card = {
    .name = "split_last",
    .shape = split_last_shape,
    .grad =
        [](const GradArgs& g) {
          return std::vector{join(g.graph, concat_last_card, g.dout, g.attr<PiecesAttrs>().sizes)};
        },
    .cost = moved,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = split_last_cpu,
    .cuda = split_last_cuda,
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) { return split_last(v[0], {3, 1, 4}); };
          return Samples{{.in = {{DType::kF32, {3, 5, 8}}}, .build = build},
                         {.in = {{DType::kF32, {3, 5, 8}}}, .build = build, .no_output_gradient = {1}}};
        },
};

const OpCard concat_last_card = {
    .name = "concat_last",
    .shape = concat_last_shape,
    .grad = [](const GradArgs& g) { return split_last(g.dout[0], g.attr<PiecesAttrs>().sizes); },
    .cost = moved,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = concat_last_cpu,
    .cuda = concat_last_cuda,
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {3, 5, 2}}, {DType::kF32, {3, 5, 7}}},
                          .build = [](auto& v) { return std::vector{concat_last(v)}; }}};
        },
};

const OpCard split_first_card = {
    .name = "split_first",
    .shape = split_first_shape,
    .grad =
        [](const GradArgs& g) {
          return std::vector{join(g.graph, concat_first_card, g.dout, g.attr<PiecesAttrs>().sizes)};
        },
    .cost = [](const NodeTypes&) { return Cost{}; },
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = [](const KernelArgs&) {},
    .alias = split_first_windows,
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) { return both_halves(v[0]); };
          return Samples{{.in = {{DType::kF32, {6, 5}}}, .build = build},
                         {.in = {{DType::kF32, {6, 5}}}, .build = build, .no_output_gradient = {0}},
                         {.in = {{DType::kI64, {4}}}, .build = build}};
        },
};

const OpCard concat_first_card = {
    .name = "concat_first",
    .shape = concat_first_shape,
    .grad = [](const GradArgs& g) { return split_first(g.dout[0], g.attr<PiecesAttrs>().sizes); },
    .cost = moved,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = concat_first_cpu,
    .cuda = concat_first_cuda,
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) { return std::vector{concat_first(v[0], v[1])}; };
          const auto twice = [](const std::vector<Value>& v) { return std::vector{repeat_first(v[0])}; };
          return Samples{{.in = {{DType::kF32, {2, 5}}, {DType::kF32, {4, 5}}}, .build = build},
                         {.in = {{DType::kI64, {3}}, {DType::kI64, {3}}}, .build = build},
                         {.in = {{DType::kF32, {3, 5}}}, .build = twice}};
        },
};

std::vector<Value> split_last(Value x, const std::vector<int64_t>& sizes) {
  return x.graph->add(split_last_card, {x}, pieces(sizes));
}

Value concat_last(const std::vector<Value>& parts) {
  REQUIRE(!parts.empty() && parts[0].shape().rank() >= 1, "concat_last: needs at least one part with an axis");
  std::vector<int64_t> sizes;
  for (const Value& part : parts) sizes.push_back(part.shape()[-1]);
  return join(*parts[0].graph, concat_last_card, parts, std::move(sizes));
}

Value concat_first(Value a, Value b) {
  REQUIRE(a.shape().rank() >= 1 && b.shape().rank() >= 1 && a.shape()[0] > 0 && b.shape()[0] > 0,
          "concat_first: " + a.shape().str() + " and " + b.shape().str() + " must have first axes that are not empty");
  const int64_t ratio = std::gcd(a.shape()[0], b.shape()[0]);
  return join(*a.graph, concat_first_card, {a, b}, {a.shape()[0] / ratio, b.shape()[0] / ratio});
}

Value repeat_first(Value x) { return concat_first(x, x); }

std::pair<Value, Value> halves(Value x) {
  const std::vector<Value> parts = split_first(x, {1, 1});
  return {parts[0], parts[1]};
}

}  // namespace shardit
