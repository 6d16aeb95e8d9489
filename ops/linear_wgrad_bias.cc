// The gradients of a linear layer's weight and bias together: dw = dy^T x, db = the sum of dy's rows. A tile of dw
// reads its columns of dy; they are summed while they are near, in the order of sum_leading, so fusing changes no bit.
#include "ops/cublaslt.h"
#include "ops/kernel.h"
#include "ops/linear.h"
#include "ops/ops.h"
#include "ops/sum_leading.h"
#include "ops/vector.h"

namespace shardit {

DEVICE_KERNEL(linear_wgrad_bias_cuda);
DEVICE_PREPARE(linear_wgrad_cuda_prepare);

namespace {

// The sums of kVectors vectors of columns, the last one of `lanes` lanes. dy: the first row's.
template <int kVectors, typename D, typename DB>
void sum_vectors(const D* dy, int64_t rows, int64_t stride, int64_t lanes, DB* db) {
  using S = Accum<D>;
  constexpr int64_t kStep = kVectorLanes<S>;
  const int64_t of_block = sum_leading_order::rows_of_block(rows);
  Vector<S> total[kVectors] = {};
  for (int64_t first = 0; first < rows; first += of_block) {
    Vector<S> sum[kVectors] = {};
    for (int64_t r = first; r < std::min(first + of_block, rows); ++r)
      for (int v = 0; v < kVectors; ++v) sum[v] += load_lanes<S>(dy + r * stride + v * kStep, lanes);
    for (int v = 0; v < kVectors; ++v) total[v] = first == 0 ? sum[v] : total[v] + sum[v];
  }
  for (int v = 0; v < kVectors; ++v) store_lanes<S>(db + v * kStep, total[v], lanes);
}

template <typename D, typename DB>
void sum_columns(const D* dy, int64_t rows, int64_t stride, int64_t columns, DB* db) {
  constexpr int64_t kStep = kVectorLanes<Accum<D>>, kVectors = 4;
  int64_t c = 0;
  for (; c + kVectors * kStep <= columns; c += kVectors * kStep)
    sum_vectors<kVectors>(dy + c, rows, stride, kStep, db + c);
  for (; c < columns; c += kStep) sum_vectors<1>(dy + c, rows, stride, std::min(kStep, columns - c), db + c);
}

void linear_wgrad_bias_cpu(const KernelArgs& k) {
  const Product& product = static_cast<const TiledProduct&>(*k.prepared).product();
  visit_real(k.in[0].dtype(), k.out[1].dtype(), [&]<typename D, typename DB>(D, DB) {
    multiply(k, {k.in[0].data, k.in[1].data, nullptr, k.out[0].data}, [&](const MatrixTile& tile) {
      // Of its rows' sums, a tile has the share that it has of dw's columns.
      const int64_t from = tile.row + tile.rows * tile.column / product.n,
                    to = tile.row + tile.rows * (tile.column + tile.columns) / product.n;
      sum_columns(k.in[0].as<D>() + from, product.k, product.m, to - from, k.out[1].as<DB>() + from);
    });
  });
}

Shape bias_shape(const Shape& dy) { return {dy[-1]}; }

}  // namespace

const OpCard linear_wgrad_bias_card = {
    .name = "linear_wgrad_bias",
    .shape =
        [](const NodeTypes& n) {
          const Shape w = linear_wgrad_shape(n);
          return std::vector{n.real_of(w), n.real_of(bias_shape(n.in_shape(0)))};
        },
    .cost =
        [](const NodeTypes& n) {
          return Cost{.matmul_flops = linear_wgrad_flops(n),
                      .flops = static_cast<double>(n.in_shape(0).numel()),
                      .bytes = streamed(n)};
        },
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kWeightGradient},
    .cpu = linear_wgrad_bias_cpu,
    .cuda = linear_wgrad_bias_cuda,
    .workspace = tiles_workspace<wgrad_tiling>,
    .cuda_workspace =
        [](const NodeTypes& n) {
          return std::max(device_product_workspace(n), sum_leading_order::workspace(n.in[0], n.in_shape(0)[-1]));
        },
    .prepare = prepare_tiles<wgrad_tiling>,
    .cuda_prepare = linear_wgrad_cuda_prepare,
    .expand =
        [](const std::vector<Value>& in, const Attrs* attrs) {
          const Shape& w = static_cast<const WeightShapeAttrs&>(*attrs).shape;
          return std::vector{linear_wgrad(in[0], in[1], w), sum_leading(in[0], bias_shape(in[0].shape()))};
        },
    .samples =
        [] {
          const auto sample = [](Shape dy, Shape x, Shape w) {
            return Sample{.in = {{DType::kF32, dy}, {DType::kF32, x}},
                          .build = [w](const std::vector<Value>& v) { return linear_wgrad_bias(v[0], v[1], w); }};
          };
          return Samples{sample({5, 7, 9}, {5, 7, 13}, {9, 13}),
                         sample({6, 5}, {6, 12}, {5, 3, 2, 2}),  // a convolution's weight
                         sample({301, 3}, {301, 6}, {3, 6}),     // many blocks of rows and a rest
                         sample({3, 300}, {3, 8}, {300, 8}),     // several tiles, vectors and a rest
                         sample({7, 5}, {7, 100}, {5, 100}),     // few rows of dw: tiles of columns share its sums
                         sample({40, 24}, {40, 16}, {24, 16})};  // a library's epilogue
        },
};

std::vector<Value> linear_wgrad_bias(Value dy, Value x, Shape shape) {
  auto attrs = std::make_shared<WeightShapeAttrs>();
  attrs->shape = shape;
  return dy.graph->add(linear_wgrad_bias_card, {dy, x}, attrs);
}

}  // namespace shardit
