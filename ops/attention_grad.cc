// The backward pass of attention; formulas and tiles are in attention_tile.h. The inputs are dout, qkv, qkv_time, bias,
// out, lse. The CPU has whole rows of p and dp at hand and takes delta from them; the GPU takes it from dout and out.
#include "ops/attention_device.h"
#include "ops/attention_tile.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(attention_grad_cuda);

namespace {

using namespace attention_tile;

// p = exp(l - lse) and dl = p (dp - delta) for rows of a block, in place of l and dp. `lse` begins at the first.
template <typename S> void compute_dlogits(const Sizes& z, int64_t rows, const S* lse, const Scratch<S>& s) {
  const int64_t padded = whole_vectors(z.tokens);
  for (int64_t i = 0; i < rows; ++i) {
    S *p = s.logits.data + i * s.logits.stride, *dl = s.dlogits.data + i * s.dlogits.stride;
    const S log_sum = lse[i];
    Vector<S> total{};
    for (int64_t j = 0; j < padded; j += kVectorLanes<S>) {
      const Vector<S> probability = exp_of(load(p + j) - log_sum);
      store(p + j, probability);
      total += where_positive(probability, probability * load(dl + j));  // dp is not written in the padding
    }
    const S delta = sum(total);
    for (int64_t j = 0; j < padded; j += kVectorLanes<S>) store(dl + j, load(p + j) * (load(dl + j) - delta));
  }
}

// Of a small window, whose queries are one block: a row of the table has the keys of image rows equally far from the
// queries'; its sums stay in a register until it is done.
template <typename S> void add_table_rows(const Sizes& z, PaddedMatrix<const S> dlogits, S* table_grad) {
  const int64_t w = z.window, columns = 2 * w - 1;
  for (int64_t distance = 1 - w; distance < w; ++distance) {
    S* const sums = table_grad + (w - 1 + distance) * columns;
    for (int64_t c = 0; c < columns; c += kVectorLanes<S>) {
      Vector<S> sum = load(sums + c);
      for (int64_t row = std::max<int64_t>(0, -distance); row < w - std::max<int64_t>(0, distance); ++row)
        for (int64_t column = 0; column < w; ++column) {
          // The first key lies in lane `lane`; lanes outside of [lane, lane + w) belong to other keys.
          const int64_t lane = w - 1 - column - c;
          const S* const first_key = dlogits.data + (row * w + column) * dlogits.stride + (row + distance) * w;
          sum += lanes_between(load(first_key - lane), lane, lane + w);
        }
      store(sums + c, sum);  // what lies behind the row as it was
    }
  }
}

// table_grad += the logit gradients of queries [begin, begin + rows), each at its relative position, in the order of
// the queries.
template <typename S>
void add_to_table(const Sizes& z, int64_t begin, int64_t rows, PaddedMatrix<const S> dlogits, S* table_grad) {
  if (z.small_window()) return add_table_rows(z, dlogits, table_grad);
  for (int64_t i = 0; i < rows; ++i) {
    const S* row = dlogits.data + i * dlogits.stride;
    for_table_runs<S>(z, begin + i, [&](int64_t key, int64_t at, int64_t n) {
      store(table_grad + at, load(table_grad + at) + lanes_between(load(row + key), 0, n));
    });
  }
}

// The logits' gradients of queries [begin, begin + rows), and what leads to them.
template <typename T>
void compute_block(const Sizes& z, const Head<const T>& in, const T* time, const T* dout, const Accum<T>* lse,
                   int64_t begin, int64_t rows, const Scratch<Accum<T>>& s, RowsAhead& ahead) {
  using S = Accum<T>;
  const S scale = S(1) / std::sqrt(static_cast<S>(z.depth)), *no_shift = nullptr;
  widen_row(z.depth, time, s.time);
  for (int64_t at = 0; at < rows; at += z.some_rows()) {
    const int64_t some = std::min(z.some_rows(), rows - at), first = begin + at;
    const Scratch<S> part = s.from_row(at);
    widen<S>(some, z.depth, in.q + first * in.stride, in.stride, s.time, scale, part.query);
    widen<S>(some, z.depth, dout + first * z.channels, z.channels, no_shift, S(1), part.dout);
    add_rows(some, z.depth, fixed(part.dout), s.dtime_v);
    compute_logits(z, first, some, part, ahead);
    multiply<S>(some, z.tokens, z.depth, left(part.dout), fixed(s.value_t), part.dlogits, false, ahead);
    compute_dlogits(z, some, lse + first, part);
  }
}

// A block's part of the keys' or values' gradient, to += weights^T rows; after the last block it goes to `out`. Where
// one block is all, `to` is not there.
template <typename S, typename T>
void add_weighted_rows(const Sizes& z, PaddedMatrix<S> weights, PaddedMatrix<S> rows, int64_t begin, int64_t count,
                       const Scratch<S>& s, PaddedMatrix<S> to, T* out, int64_t out_stride, RowsAhead& ahead) {
  const bool first_block = begin == 0, last_block = begin + count == z.tokens;
  const S* const no_shift = nullptr;
  for (int64_t at = 0; at < z.tokens; at += z.some_rows()) {
    const int64_t some = std::min(z.some_rows(), z.tokens - at);
    const PaddedMatrix<S> part =
        first_block && last_block ? s.out : PaddedMatrix<S>{to.data + at * to.stride, to.stride};
    multiply<S>(some, z.depth, count, LeftOperand<S>{weights.data + at, 1, weights.stride}, fixed(rows), part,
                !first_block, ahead);
    if (last_block)
      for (int64_t i = 0; i < some; ++i)
        narrow_row(z.depth, part.data + i * part.stride, S(1), no_shift, out + (at + i) * out_stride);
  }
}

// The gradients of one head of one image. Its bias gradient is added to s.table_grad or, where that is cheaper, its
// logit gradients to s.dlogits_sum. The thread computes the next head next, most likely.
template <typename T>
void attention_grad_head(const KernelArgs& k, const Sizes& z, int64_t image, int64_t head, int64_t next_image,
                         int64_t next_head, const Scratch<Accum<T>>& s) {
  using S = Accum<T>;
  const Head<const T> in(z, k.in[1].as<T>(), image, head);
  const Head<T> din(z, k.out[0].as<T>(), image, head);
  const T* time = k.in[2].as<T>() + image * 3 * z.channels + head * z.depth;
  T* dtime = k.out[1].as<T>() + image * 3 * z.channels + head * z.depth;
  const T* dout = rows_of(z, k.in[0].as<const T>(), image, head);
  const S* lse = k.in[5].as<S>() + (image * z.heads + head) * z.tokens;
  const S scale = S(1) / std::sqrt(static_cast<S>(z.depth)), *no_shift = nullptr;
  const int64_t grain = z.block_rows();
  RowsAhead ahead(z.tokens, z.depth * int64_t{sizeof(T)});
  if (grain == z.tokens) add_rows_ahead(din, ahead);  // else they are written long after
  add_rows_ahead(Head<const T>(z, k.in[1].as<T>(), next_image, next_head), ahead);
  add_rows_ahead(z, rows_of(z, k.in[0].as<const T>(), next_image, next_head), ahead);

  widen_transposed(z, in.v, in.stride, s.key, s.value_t);
  widen_transposed(z, in.k, in.stride, s.key, s.key_t);
  std::fill(s.dtime_q, s.dtime_q + whole_vectors(z.depth), S(0));
  std::fill(s.dtime_v, s.dtime_v + whole_vectors(z.depth), S(0));
  for (int64_t begin = 0; begin < z.tokens; begin += grain) {
    const int64_t rows = std::min(grain, z.tokens - begin);
    ahead.allow(begin + rows);
    compute_block(z, in, time, dout, lse, begin, rows, s, ahead);
    add_weighted_rows(z, s.logits, s.dout, begin, rows, s, s.dvalue, din.v, din.stride, ahead);
    add_weighted_rows(z, s.dlogits, s.query, begin, rows, s, s.dkey, din.k, din.stride, ahead);
    for (int64_t at = 0; at < rows; at += z.some_rows()) {
      const int64_t some = std::min(z.some_rows(), rows - at);
      multiply<S>(some, z.depth, z.tokens, left(s.from_row(at).dlogits), fixed(s.key), s.out, false, ahead);
      for (int64_t i = 0; i < some; ++i)
        narrow_row(z.depth, s.out.data + i * s.out.stride, scale, no_shift, din.q + (begin + at + i) * din.stride);
      add_rows(some, z.depth, fixed(s.out), s.dtime_q);
    }
    if (z.sums_logit_gradients())
      for (int64_t i = 0; i < rows; ++i)
        add_row(z.tokens, s.dlogits.data + i * s.dlogits.stride, s.dlogits_sum.data + i * s.dlogits_sum.stride);
    else
      add_to_table(z, begin, rows, fixed(s.dlogits), s.table_grad);
  }
  for (int64_t c = 0; c < z.depth; ++c) {
    dtime[c] = T(s.dtime_q[c] * scale);
    dtime[z.channels + c] = T(S(0));  // k_t has no effect
    dtime[2 * z.channels + c] = T(s.dtime_v[c]);
  }
}

template <typename S> int64_t partial_bytes(const Sizes& z) {
  return whole_vectors(z.groups() * z.heads * z.table()) * static_cast<int64_t>(sizeof(S));
}

void attention_grad_cpu(const KernelArgs& k) {
  visit_elements(k, 1, [&]<typename T>(T) {
    using S = Accum<T>;
    const Sizes z = sizes_of(k.in[1].shape(), k.attr<AttentionAttrs>().heads);
    const int64_t table = z.table();
    S* partial = reinterpret_cast<S*>(k.workspace);  // (groups, heads, table), tables reversed
    const int64_t tiles = z.groups() * z.heads;
    k.pool->run(tiles, [&](int64_t tile, int thread) {
      const Scratch<S> s(z, true,
                         reinterpret_cast<S*>(k.workspace + partial_bytes<S>(z) + thread * scratch_bytes<S>(z, true)));
      const int64_t head = tile % z.heads;
      const Tile images = tile_at(z.images, z.group(), tile / z.heads);
      gather_bias(z, k.in[3].as<T>(), head, s);
      std::fill(s.table_grad, s.table_grad + table + kSlack, S(0));
      const bool sum_images = z.sums_logit_gradients();
      if (sum_images) std::fill(s.dlogits_sum.data, s.dlogits_sum.data + z.tokens * z.token_stride() + kSlack, S(0));
      const int64_t later = std::min(tile + k.pool->threads(), tiles - 1);
      for (int64_t image = images.begin; image < images.end; ++image) {
        const bool more = image + 1 < images.end;
        attention_grad_head<T>(k, z, image, head, more ? image + 1 : later / z.heads * z.group(),
                               more ? head : later % z.heads, s);
      }
      if (sum_images) add_to_table(z, 0, z.tokens, fixed(s.dlogits_sum), s.table_grad);
      std::copy(s.table_grad, s.table_grad + table, partial + tile * table);
    });
    k.pool->run(z.heads, [&](int64_t head, int) {
      for (int64_t r = 0; r < table; ++r) {
        S total = partial[head * table + r];
        for (int64_t g = 1; g < z.groups(); ++g) total += partial[(g * z.heads + head) * table + r];
        k.out[2].as<S>()[(table - 1 - r) * z.heads + head] = total;
      }
    });
  });
}

std::vector<Type> attention_grad_shape(const NodeTypes& n) {
  check_shapes(n, 1);
  const Shape& qkv = n.in_shape(1);
  const Shape out{qkv[0], qkv[1], qkv[2] / 3};
  REQUIRE(n.in_shape(0) == out, "attention_grad: dout is " + n.in_shape(0).str() + ", expected " + out.str());
  REQUIRE(n.in_shape(4) == out, "attention_grad: out is " + n.in_shape(4).str() + ", expected " + out.str());
  return {n.real_of(qkv), n.real_of(n.in_shape(2)), n.real_of(n.in_shape(3))};
}

int64_t attention_grad_workspace(const NodeTypes& n, int threads) {
  const Sizes z = sizes_of(n.in_shape(1), n.attr<AttentionAttrs>().heads);
  return n.in[0].dtype == DType::kF64 ? partial_bytes<double>(z) + threads * scratch_bytes<double>(z, true)
                                      : partial_bytes<float>(z) + threads * scratch_bytes<float>(z, true);
}

int64_t attention_grad_cuda_workspace(const NodeTypes& n) {
  const int heads = n.attr<AttentionAttrs>().heads;
  return attention_device::Workspace(attention_device::sizes_of(n.in_shape(1), heads, n.in[1].dtype), nullptr).bytes;
}

}  // namespace

const OpCard attention_grad_card = {
    .name = "attention_grad",
    .shape = attention_grad_shape,
    .cost = [](const NodeTypes& n) { return attention_cost(n, n.in_shape(1), 5, 30); },
    .in_roles = {Role::kCompute, Role::kCompute, Role::kCompute, Role::kCompute, Role::kCompute, Role::kExact},
    .out_roles = {Role::kCompute, Role::kCompute, Role::kWeightGradient},
    .cpu = attention_grad_cpu,
    .cuda = attention_grad_cuda,
    .workspace = attention_grad_workspace,
    .cuda_workspace = attention_grad_cuda_workspace,
};

std::vector<Value> attention_grad(Value dout, Value qkv, Value qkv_time, Value bias, Value out, Value lse, int heads) {
  auto attrs = std::make_shared<AttentionAttrs>();
  attrs->heads = heads;
  return qkv.graph->add(attention_grad_card, {dout, qkv, qkv_time, bias, out, lse}, attrs);
}

}  // namespace shardit
