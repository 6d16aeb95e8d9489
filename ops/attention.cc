// The forward pass of attention; formulas and tiles are in attention_tile.h.
#include "ops/attention_tile.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(attention_cuda);

namespace {

using namespace attention_tile;

// The thread computes the next head of the next image next, most likely; they may be the same.
template <typename T>
void attention_head(const KernelArgs& k, const Sizes& z, int64_t image, int64_t head, int64_t next_image,
                    int64_t next_head, const Scratch<Accum<T>>& s) {
  using S = Accum<T>;
  const Head<const T> in(z, k.in[0].as<T>(), image, head);
  const T* time = k.in[1].as<T>() + image * 3 * z.channels + head * z.depth;
  T* out = rows_of(z, k.out[0].as<T>(), image, head);
  S* lse = k.out[1].as<S>() + (image * z.heads + head) * z.tokens;
  const S scale = S(1) / std::sqrt(static_cast<S>(z.depth));
  RowsAhead ahead(z.tokens, z.depth * int64_t{sizeof(T)});
  add_rows_ahead(z, out, ahead);
  add_rows_ahead(Head<const T>(z, k.in[0].as<T>(), next_image, next_head), ahead);

  gather_bias(z, k.in[2].as<T>(), head, s);
  widen_transposed(z, in.k, in.stride, s.key, s.key_t);
  widen_tokens(z, in.v, in.stride, s.value);
  const int64_t grain = z.some_rows();
  for (int64_t begin = 0; begin < z.tokens; begin += grain) {
    const int64_t rows = std::min(grain, z.tokens - begin);
    ahead.allow(begin + rows);
    widen<S>(rows, z.depth, in.q + begin * in.stride, in.stride, widen_row(z.depth, time, s.time), scale, s.query);
    compute_logits(z, begin, rows, s, ahead);
    exponentiate(z, rows, lse + begin, s);
    for (int64_t i = 0; i < rows; ++i) lse[begin + i] += log_of(s.per_row[i]);
    for (int64_t i = 0; i < rows; ++i) s.per_row[i] = S(1) / s.per_row[i];
    multiply<S>(rows, z.depth, z.tokens, left(s.logits), fixed(s.value), s.out, false, ahead);
    widen_row(z.depth, time + 2 * z.channels, s.time);
    for (int64_t i = 0; i < rows; ++i)
      narrow_row(z.depth, s.out.data + i * s.out.stride, s.per_row[i], s.time, out + (begin + i) * z.channels);
  }
}

void attention_cpu(const KernelArgs& k) {
  visit_elements(k, 0, [&]<typename T>(T) {
    using S = Accum<T>;
    const Sizes z = sizes_of(k.in[0].shape(), k.attr<AttentionAttrs>().heads);
    const int64_t runs = tile_count(z.heads, z.head_run());
    const int64_t tiles = z.images * runs;
    k.pool->run(tiles, [&](int64_t tile, int thread) {
      const Scratch<S> scratch(z, false, reinterpret_cast<S*>(k.workspace + thread * scratch_bytes<S>(z, false)));
      const Tile heads = tile_at(z.heads, z.head_run(), tile % runs);
      const int64_t later = std::min(tile + k.pool->threads(), tiles - 1);
      for (int64_t head = heads.begin; head < heads.end; ++head) {
        const bool more = head + 1 < heads.end;
        attention_head<T>(k, z, tile / runs, head, more ? tile / runs : later / runs,
                          more ? head + 1 : later % runs * z.head_run(), scratch);
      }
    });
  });
}

std::vector<Type> attention_shape(const NodeTypes& n) {
  check_shapes(n, 0);
  const Shape& qkv = n.in_shape(0);
  return {n.real_of({qkv[0], qkv[1], qkv[2] / 3}), n.real_of({qkv[0], n.attr<AttentionAttrs>().heads, qkv[1]})};
}

int64_t attention_workspace(const NodeTypes& n, int threads) {
  const Sizes z = sizes_of(n.in_shape(0), n.attr<AttentionAttrs>().heads);
  return threads * (n.in[0].dtype == DType::kF64 ? scratch_bytes<double>(z, false) : scratch_bytes<float>(z, false));
}

Sample attention_sample(int64_t images, int64_t window, int64_t channels, int heads) {
  const int64_t n = window * window, table = (2 * window - 1) * (2 * window - 1);
  return {.in = {{DType::kF32, {images, n, 3 * channels}},
                 {DType::kF32, {images, 3 * channels}},
                 {DType::kF32, {table, heads}}},
          .build = [heads](const std::vector<Value>& v) { return attention(v[0], v[1], v[2], heads); },
          .no_output_gradient = {1}};
}

}  // namespace

const OpCard attention_card = {
    .name = "attention",
    .shape = attention_shape,
    .grad =
        [](const GradArgs& g) {
          return attention_grad(g.dout[0], g.in[0], g.in[1], g.in[2], g.out[0], g.out[1],
                                g.attr<AttentionAttrs>().heads);
        },
    .cost = [](const NodeTypes& n) { return attention_cost(n, n.in_shape(0), 2, 25); },
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute, Role::kExact},
    .cpu = attention_cpu,
    .cuda = attention_cuda,
    .workspace = attention_workspace,
    .samples =
        [] {
          return Samples{attention_sample(3, 3, 10, 2), attention_sample(2, 7, 24, 2), attention_sample(130, 2, 4, 1),
                         attention_sample(1, 17, 24, 1)};  // one key; a padded row; groups of images; blocks of queries
        },
};

std::vector<Value> attention(Value qkv, Value qkv_time, Value bias, int heads) {
  auto attrs = std::make_shared<AttentionAttrs>();
  attrs->heads = heads;
  return qkv.graph->add(attention_card, {qkv, qkv_time, bias}, attrs);
}

}  // namespace shardit
