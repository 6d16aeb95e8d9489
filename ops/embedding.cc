// Rows of a table by index, and the gradient: rows of dy added to their table rows, in the order of the batch.
#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(embedding_cuda);
DEVICE_KERNEL(embedding_grad_cuda);

namespace {

struct TableShapeAttrs : Attrs {
  Shape shape;
  std::string text() const override { return shape.str(); }
};

int64_t checked_index(const TensorRef& index, int64_t i, int64_t rows) {
  const int64_t row = index.as<int64_t>()[i];
  if (row < 0 || row >= rows)
    throw DeviceError("embedding: index " + std::to_string(row) + " of element " + std::to_string(i) +
                      " lies outside a table of " + std::to_string(rows) + " rows");
  return row;
}

void embedding_cpu(const KernelArgs& k) {
  const int64_t rows = k.in[0].shape()[0], columns = k.in[0].shape()[1];
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    k.pool->run(k.in[1].numel(), [&](int64_t i, int) {
      const X* x = k.in[0].as<X>() + checked_index(k.in[1], i, rows) * columns;
      Y* y = k.out[0].as<Y>() + i * columns;
      for (int64_t c = 0; c < columns; ++c) y[c] = Y(static_cast<Accum<X>>(x[c]));
    });
  });
}

// Tiles are columns: every tile walks the whole batch in order, so no two threads meet in a row.
void embedding_grad_cpu(const KernelArgs& k) {
  const int64_t rows = k.out[0].shape()[0], columns = k.out[0].shape()[1], batch = k.in[1].numel();
  constexpr int64_t kColumns = 64;
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&]<typename D, typename W>(D, W) {
    if constexpr (std::is_same_v<W, BF16>) {
      LOG(FATAL) << "embedding_grad sums in its output: no kernel for bf16";
    } else {
      k.pool->run(tile_count(columns, kColumns), [&](int64_t t, int) {
        const Tile tile = tile_at(columns, kColumns, t);
        W* dtable = k.out[0].as<W>();
        for (int64_t r = 0; r < rows; ++r)
          std::fill(dtable + r * columns + tile.begin, dtable + r * columns + tile.end, W(0));
        for (int64_t i = 0; i < batch; ++i) {
          W* row = dtable + checked_index(k.in[1], i, rows) * columns;
          const D* dy = k.in[0].as<D>() + i * columns;
          for (int64_t c = tile.begin; c < tile.end; ++c) row[c] += static_cast<W>(dy[c]);
        }
      });
    }
  });
}

void require_index(const Type& index, const Type& rows, const char* op) {
  REQUIRE(index.dtype == DType::kI64 && index.shape.rank() == 1,
          std::string(op) + ": the index is " + index.str() + ": expected int64 and one axis");
  REQUIRE(rows.shape.rank() == 2, std::string(op) + ": " + rows.str() + " is not a matrix");
}

}  // namespace

const OpCard embedding_card = {
    .name = "embedding",
    .shape =
        [](const NodeTypes& n) {
          require_index(n.in[1], n.in[0], "embedding");
          return std::vector{n.real_of({n.in_shape(1)[0], n.in_shape(0)[1]})};
        },
    .grad =
        [](const GradArgs& g) {
          return std::vector{embedding_grad(g.dout[0], g.in[1], g.in[0].shape()), Value{}};
        },
    .cost =
        [](const NodeTypes& n) {
          const int64_t gathered = n.out[0].shape.numel() * static_cast<int64_t>(size_of(n.in[0].dtype));
          const int64_t read = std::min(n.in[0].bytes(), gathered) + n.in[1].bytes();
          return Cost{.bytes = static_cast<double>(read + n.out[0].bytes())};
        },
    .in_roles = {Role::kCompute, Role::kFixed},
    .out_roles = {Role::kCompute},
    .cpu = embedding_cpu,
    .cuda = embedding_cuda,
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {7, 70}}, {DType::kI64, {9}}},
                          .build = [](auto& v) { return std::vector{embedding(v[0], v[1])}; },
                          .integer = [](int, int64_t i) { return i * 2 % 5; }},
                         {.in = {{DType::kF32, {7, 72}}, {DType::kI64, {40}}},  // rows with many terms
                          .build = [](auto& v) { return std::vector{embedding(v[0], v[1])}; },
                          .integer = [](int, int64_t i) { return i % 3; }}};
        },
};

const OpCard embedding_grad_card = {
    .name = "embedding_grad",
    .shape =
        [](const NodeTypes& n) {
          require_index(n.in[1], n.in[0], "embedding_grad");
          const Shape& shape = n.attr<TableShapeAttrs>().shape;
          REQUIRE(shape.rank() == 2 && shape[1] == n.in_shape(0)[1] && n.in_shape(0)[0] == n.in_shape(1)[0],
                  "embedding_grad: dy " + n.in_shape(0).str() + " and index " + n.in_shape(1).str() +
                      " do not fit the table " + shape.str());
          return std::vector{n.real_of(shape)};
        },
    .cost =
        [](const NodeTypes& n) {
          return Cost{.flops = static_cast<double>(n.in_shape(0).numel()), .bytes = streamed(n)};
        },
    .in_roles = {Role::kCompute, Role::kFixed},
    .out_roles = {Role::kWeightGradient},
    .cpu = embedding_grad_cpu,
    .cuda = embedding_grad_cuda,
};

Value embedding(Value table, Value index) { return table.graph->add1(embedding_card, {table, index}); }

Value embedding_grad(Value dy, Value index, Shape table_shape) {
  auto attrs = std::make_shared<TableShapeAttrs>();
  attrs->shape = table_shape;
  return dy.graph->add1(embedding_grad_card, {dy, index}, attrs);
}

}  // namespace shardit
