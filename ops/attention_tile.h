// What the forward and the backward kernel of time-dependent self-attention share (DiffiT eq. 3-7): sizes, scratch,
// rows in and out, logits and their exponentials.
//
//   l = (q + q_t) k^T / sqrt(D) + bias,  p = softmax(l),  out = p v + v_t,  lse = log of the row sums of exp(l)
//
// k_t is left out: it shifts a row's logits alike. v_t is added after the product: rows of p sum to one.
// Backward, with p recomputed from lse:
//   dv = p^T dout,  dv_t = sum_i dout_i,  dp = dout v^T,  delta_i = p_i . dp_i,  dl = p (dp - delta)
//   dq = dl k / sqrt(D),  dq_t = sum_i dq_i,  dk = dl^T (q + q_t) / sqrt(D),  dbias[rel(i, j)] += dl_ij
//
// A tile is one head of one image (backward: of a fixed group of images, whose bias gradients it sums). Its logits live
// in the thread's scratch, a block of query rows at a time; nothing of size heads x N x N exists.
#pragma once

#include <limits>

#include "core/error.h"
#include "ops/ahead.h"
#include "ops/attention.h"
#include "ops/kernel.h"
#include "ops/math.h"
#include "ops/small_matmul.h"

namespace shardit::attention_tile {

struct Sizes {
  int64_t images, tokens, channels, heads, depth;                        // depth: channels of a head
  int64_t window;                                                        // tokens = window^2
  int64_t table() const { return (2 * window - 1) * (2 * window - 1); }  // relative positions
  int64_t token_stride() const { return padded_stride(tokens); }
  int64_t depth_stride() const { return padded_stride(depth); }

  // Rows that are computed together: few, so that what becomes of a product finds it in the first-level cache.
  int64_t some_rows() const { return std::min<int64_t>(tokens, 16); }
  // Those whose logits the backward pass keeps: 64 Ki of them, so that they stay in the second-level cache; blocks of
  // nearly equal height.
  int64_t block_rows() const {
    const int64_t blocks = tile_count(tokens * whole_vectors(tokens), 65536);
    return tile_count(tokens, blocks);
  }
  // Heads of an image that one tile of the forward pass computes, one after another: as many as leave 64 tiles.
  int64_t head_run() const { return std::max<int64_t>(1, std::min(heads, images * heads / 64)); }
  // Images whose bias gradients one tile sums: as many as leave 64 tiles, at most 8.
  int64_t group() const { return std::max<int64_t>(1, std::min<int64_t>(8, images * heads / 64)); }
  // Whether a row of the table is one vector. Then a head's bias, written out, is small, and sums of a row stay in
  // registers while queries go by; a larger window's runs of keys are whole vectors anyway.
  bool small_window() const { return window <= 8; }
  // Whether a tile sums its images' logit gradients, and takes the table's from the sum: images of one block.
  bool sums_logit_gradients() const { return group() > 1 && block_rows() == tokens; }
  int64_t groups() const { return tile_count(images, group()); }
};

inline Sizes sizes_of(const Shape& qkv, int heads) {
  const int64_t channels = qkv[2] / 3;
  return {.images = qkv[0],
          .tokens = qkv[1],
          .channels = channels,
          .heads = heads,
          .depth = channels / heads,
          .window = side_of(qkv[1])};
}

constexpr int64_t kSlack = 32;  // elements behind matrices whose rows are written in whole vectors

// One thread's scratch. Made on a null base, it tells how many bytes it takes.
template <typename S> struct Scratch {
  S *next, *table, *bias, *table_grad;           // of one head, last entry first: the bias, as rows; its gradient
  S *time, *dtime_q, *dtime_v, *per_row;         // rows of D; one number per query of the block
  PaddedMatrix<S> query, dout;                   // (block, D)
  PaddedMatrix<S> out;                           // (some rows, D)
  PaddedMatrix<S> key, value, dkey, dvalue;      // (N, D); the gradients where there are several blocks
  PaddedMatrix<S> key_t, value_t;                // (D, N)
  PaddedMatrix<S> logits, dlogits, dlogits_sum;  // (block, N)

  Scratch(const Sizes& z, bool backward, S* base) : next(base) {
    const int64_t rows = backward ? z.block_rows() : z.some_rows(), tokens = whole_vectors(z.tokens),
                  depth = whole_vectors(z.depth);
    table = take(z.table() + kSlack);
    bias = take(z.small_window() ? z.window * z.window * (2 * z.window - 1) + kSlack : 0);
    time = take(depth);
    per_row = take(rows);
    query = matrix(rows, z.depth_stride());
    out = matrix(z.some_rows(), z.depth_stride());
    key = matrix(tokens, z.depth_stride());
    key_t = matrix(depth, z.token_stride());
    logits = matrix(rows, z.token_stride());
    if (!backward) {
      value = matrix(tokens, z.depth_stride());
      return;
    }
    table_grad = take(z.table() + kSlack);
    dtime_q = take(depth);
    dtime_v = take(depth);
    value_t = matrix(depth, z.token_stride());
    dlogits = matrix(rows, z.token_stride());
    dlogits_sum = matrix(z.sums_logit_gradients() ? rows : 0, z.token_stride());
    dkey = matrix(rows < z.tokens ? tokens : 0, z.depth_stride());
    dvalue = matrix(rows < z.tokens ? tokens : 0, z.depth_stride());
    dout = matrix(rows, z.depth_stride());
  }

  // The same, but for what is computed of the block's rows from `row` on.
  Scratch from_row(int64_t row) const {
    Scratch s = *this;
    s.per_row += row;
    for (PaddedMatrix<S>* m : {&s.query, &s.dout, &s.logits, &s.dlogits}) m->data += row * m->stride;
    return s;
  }

 private:
  PaddedMatrix<S> matrix(int64_t rows, int64_t stride) { return {take(rows * stride + kSlack), stride}; }
  S* take(int64_t elements) {
    S* p = next;
    next = reinterpret_cast<S*>(reinterpret_cast<uintptr_t>(next) +
                                static_cast<uintptr_t>(whole_vectors(elements)) * sizeof(S));
    return p;
  }
};

template <typename S> int64_t scratch_bytes(const Sizes& z, bool backward) {
  return static_cast<int64_t>(reinterpret_cast<uintptr_t>(Scratch<S>(z, backward, nullptr).next));
}

template <typename S> PaddedMatrix<const S> fixed(PaddedMatrix<S> m) { return {m.data, m.stride}; }
template <typename S> LeftOperand<S> left(PaddedMatrix<S> m) { return {m.data, m.stride, 1}; }

// The pointers of one head of one image.
template <typename T> struct Head {
  T *q, *k, *v;  // rows of D, `stride` apart
  int64_t stride;
  Head(const Sizes& z, T* qkv, int64_t image, int64_t head)
      : q(qkv + image * z.tokens * 3 * z.channels + head * z.depth),
        k(q + z.channels),
        v(k + z.channels),
        stride(3 * z.channels) {}
};
// The same of what has one row of D per token.
template <typename T> T* rows_of(const Sizes& z, T* x, int64_t image, int64_t head) {
  return x + image * z.tokens * z.channels + head * z.depth;
}

// A head's rows lie far apart, where the hardware does not look ahead.
template <typename T> void add_rows_ahead(const Head<T>& head, RowsAhead& ahead) {
  for (const T* rows : {head.v, head.k, head.q}) ahead.add(rows, head.stride * int64_t{sizeof(T)});
}
template <typename T> void add_rows_ahead(const Sizes& z, const T* rows, RowsAhead& ahead) {
  ahead.add(rows, z.channels * int64_t{sizeof(T)});
}

template <typename T, typename S> const S* widen_row(int64_t n, const T* from, S* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<S>(from[i]);
  return to;
}

// Where the biases of query i and the keys of row 0 begin in a reversed table; each further row is 2 window - 1 on.
inline int64_t table_begin(const Sizes& z, int64_t i) {
  const int64_t row = i / z.window, column = i % z.window;
  return (z.window - 1 - row) * (2 * z.window - 1) + (z.window - 1 - column);
}

// Whole rows of keys of `f`: calls f(first key, offset in the table, keys) for runs of at most one vector.
template <typename S, typename F> void for_table_runs(const Sizes& z, int64_t i, F&& f) {
  constexpr int64_t kLanes = kVectorLanes<S>;
  int64_t offset = table_begin(z, i);
  for (int64_t row = 0; row < z.window; ++row, offset += 2 * z.window - 1)
    for (int64_t c = 0; c < z.window; c += kLanes) f(row * z.window + c, offset + c, std::min(kLanes, z.window - c));
}

// The bias of one head. s.table: last entry first, so that the biases of a query's keys ascend with the key. s.bias, of
// a small window: for each column of queries all rows of that, cut to what these queries meet, so that a query's biases
// lie in a row.
template <typename T, typename S> void gather_bias(const Sizes& z, const T* from, int64_t head, const Scratch<S>& s) {
  const int64_t n = z.table(), w = z.window;
  for (int64_t r = 0; r < n; ++r) s.table[r] = static_cast<S>(from[(n - 1 - r) * z.heads + head]);
  std::fill(s.table + n, s.table + n + kSlack, S(0));
  if (!z.small_window()) return;
  S* to = s.bias;
  for (int64_t column = 0; column < w; ++column)
    for (int64_t row = 0; row < 2 * w - 1; ++row, to += w)
      store(to, load(s.table + row * (2 * w - 1) + w - 1 - column));  // the next vector overwrites what is too much
}

// The biases of query i, to `row`: stored as whole vectors, of which the next one, or the padding, overwrites what is
// too much.
template <typename S> void store_biases(const Sizes& z, int64_t i, const Scratch<S>& s, S* row) {
  if (!z.small_window())
    return for_table_runs<S>(z, i, [&](int64_t key, int64_t at, int64_t) { store(row + key, load(s.table + at)); });
  const int64_t w = z.window;
  const S* bias = s.bias + (i % w * (2 * w - 1) + w - 1 - i / w) * w;
  for (int64_t j = 0; j < z.tokens; j += kVectorLanes<S>) store(row + j, load(bias + j));
}

// logits = query key^T + bias for rows [begin, begin + rows); minus infinity in the padding.
template <typename S>
void compute_logits(const Sizes& z, int64_t begin, int64_t rows, const Scratch<S>& s, RowsAhead& ahead) {
  for (int64_t i = 0; i < rows; ++i) {
    S* row = s.logits.data + i * s.logits.stride;
    store_biases(z, begin + i, s, row);
    for (int64_t j = z.tokens; j < whole_vectors(z.tokens); j += kVectorLanes<S>)
      store(row + j, broadcast(-std::numeric_limits<S>::infinity()));
  }
  multiply<S>(rows, z.tokens, z.depth, left(s.query), fixed(s.key_t), s.logits, true, ahead);
}

// Per row: max of the logits, which become exp(logit - max), and their sum in s.per_row.
template <typename S> void exponentiate(const Sizes& z, int64_t rows, S* max, const Scratch<S>& s) {
  constexpr int64_t kLanes = kVectorLanes<S>;
  const int64_t padded = whole_vectors(z.tokens);
  for (int64_t i = 0; i < rows; ++i) {
    S* row = s.logits.data + i * s.logits.stride;
    Vector<S> largest = load(row), total{};
    for (int64_t j = kLanes; j < padded; j += kLanes) largest = maximum(largest, load(row + j));
    const S top = largest_lane(largest);
    max[i] = top;
    for (int64_t j = 0; j < padded; j += kLanes) {
      const Vector<S> p = exp_of(load(row + j) - top);
      store(row + j, p);
      total += p;
    }
    s.per_row[i] = sum(total);
  }
}

// Keys or values of one head, widened, with zero rows up to whole vectors.
template <typename S, typename T> void widen_tokens(const Sizes& z, const T* from, int64_t stride, PaddedMatrix<S> to) {
  widen<S>(z.tokens, z.depth, from, stride, nullptr, S(1), to);
  std::fill(to.data + z.tokens * to.stride, to.data + whole_vectors(z.tokens) * to.stride, S(0));
}

// The same, and transposed.
template <typename S, typename T>
void widen_transposed(const Sizes& z, const T* from, int64_t stride, PaddedMatrix<S> rows, PaddedMatrix<S> columns) {
  widen_tokens(z, from, stride, rows);
  transpose(whole_vectors(z.tokens), whole_vectors(z.depth), fixed(rows), columns);
}

// to = from * factor + shift; `shift` may be null.
template <typename S, typename T> void narrow_row(int64_t n, const S* from, S factor, const S* shift, T* to) {
  constexpr int64_t kLanes = kVectorLanes<S>;
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    const Vector<S> v = load(from + i) * factor;
    store(to + i, shift ? v + load(shift + i) : v);
  }
  for (int64_t i = whole; i < n; ++i) to[i] = T(shift ? from[i] * factor + shift[i] : from[i] * factor);
}

// to += from, padded rows.
template <typename S> void add_row(int64_t n, const S* from, S* to) {
  for (int64_t i = 0; i < whole_vectors(n); i += kVectorLanes<S>) store(to + i, load(to + i) + load(from + i));
}
// to += the rows of `from`, one after another.
template <typename S> void add_rows(int64_t rows, int64_t n, PaddedMatrix<const S> from, S* to) {
  for (int64_t i = 0; i < whole_vectors(n); i += kVectorLanes<S>) {
    Vector<S> sum = load(to + i);
    for (int64_t r = 0; r < rows; ++r) sum += load(from.data + r * from.stride + i);
    store(to + i, sum);
  }
}

// Calls f with the element type of qkv, which is input `first`, of qkv_time and of the bias.
template <typename F> void visit_elements(const KernelArgs& k, int first, F&& f) {
  for (int i : {1, 2}) CHECK(k.in[first + i].dtype() == k.in[first].dtype()) << "attention mixes element types";
  visit_real(k.in[first].dtype(), f);
}

// Checks qkv, qkv_time and bias, which stand at input `first` and after it.
inline void check_shapes(const NodeTypes& n, int first) {
  const Shape &qkv = n.in_shape(first), &time = n.in_shape(first + 1), &bias = n.in_shape(first + 2);
  const int heads = n.attr<AttentionAttrs>().heads;
  REQUIRE(qkv.rank() == 3 && qkv[2] % 3 == 0 && qkv.numel() > 0,
          "attention: qkv is " + qkv.str() + ": expected (images, tokens, 3 C)");
  REQUIRE(heads > 0 && qkv[2] / 3 % heads == 0, "attention: " + std::to_string(qkv[2] / 3) +
                                                    " channels do not divide into " + std::to_string(heads) +
                                                    " heads: choose a number of heads that divides the channels");
  const int64_t w = side_of(qkv[1]);
  REQUIRE(w > 0, "attention: " + std::to_string(qkv[1]) +
                     " tokens are not a square: the relative position bias needs w x w tokens");
  const Shape expected_time{qkv[0], qkv[2]}, expected_bias{(2 * w - 1) * (2 * w - 1), heads};
  REQUIRE(time == expected_time, "attention: qkv_time is " + time.str() + ", expected " + expected_time.str());
  REQUIRE(bias == expected_bias, "attention: the bias table is " + bias.str() + ", " + std::to_string(w) + " x " +
                                     std::to_string(w) + " tokens expect " + expected_bias.str());
}

// `products` matrix products of N x N x D per head, and some pointwise work per logit.
inline Cost attention_cost(const NodeTypes& n, const Shape& qkv, int products, int pointwise) {
  const double pairs = static_cast<double>(qkv[0] * qkv[1] * qkv[1]), channels = static_cast<double>(qkv[2] / 3);
  return {.matmul_flops = 2.0 * products * pairs * channels,
          .flops = pointwise * pairs * n.attr<AttentionAttrs>().heads,
          .bytes = streamed(n)};
}

}  // namespace shardit::attention_tile
