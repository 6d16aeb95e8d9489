// What turns time, place and class into vectors.
#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {
namespace {

constexpr int64_t kHalf = 128;  // frequencies of the timestep embedding

// Frequency and angle are rounded to fp32, as the released model computes them: at t near 1000 that moves the angle by
// 1e-4, which a network trained with it must see again.
float frequency(int64_t i) {
  const float exponent = static_cast<float>(-std::log(10000.0)) * static_cast<float>(i) / static_cast<float>(kHalf);
  return static_cast<float>(std::exp(static_cast<double>(exponent)));
}

float time_of(const TensorRef& t, int64_t b) {
  if (t.dtype() == DType::kI64) return static_cast<float>(t.as<int64_t>()[b]);
  return t.dtype() == DType::kF64 ? static_cast<float>(t.as<double>()[b]) : t.as<float>()[b];
}

void timestep_cpu(const KernelArgs& k) {
  visit_real(k.out[0].dtype(), [&]<typename Y>(Y) {
    for (int64_t b = 0; b < k.in[0].numel(); ++b) {
      Y* y = k.out[0].as<Y>() + b * 2 * kHalf;
      for (int64_t i = 0; i < kHalf; ++i) {
        const float angle = time_of(k.in[0], b) * frequency(i);
        y[i] = Y(static_cast<Accum<Y>>(std::cos(static_cast<double>(angle))));
        y[kHalf + i] = Y(static_cast<Accum<Y>>(std::sin(static_cast<double>(angle))));
      }
    }
  });
}

struct PositionAttrs : Attrs {
  int64_t w = 1, channels = 4;
  std::string text() const override { return std::to_string(w) + "x" + std::to_string(w) + "," + std::to_string(channels); }
};

void position_cpu(const KernelArgs& k) {
  const auto& a = k.attr<PositionAttrs>();
  visit_real(k.out[0].dtype(), [&]<typename Y>(Y) {
    for (int64_t token = 0; token < a.w * a.w; ++token)
      for (int64_t c = 0; c < a.channels; ++c)
        k.out[0].as<Y>()[token * a.channels + c] = Y(static_cast<Accum<Y>>(position_value(token, c, a.w, a.channels)));
  });
}

int64_t row_of(const TensorRef& index, int64_t b, int64_t rows) {
  const int64_t row = index.as<int64_t>()[b];
  if (row < 0 || row >= rows) throw DeviceError("embedding: image " + std::to_string(b) + " has label " + std::to_string(row) + ", the table has " + std::to_string(rows) + " rows");
  return row;
}

void embedding_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    const int64_t rows = k.in[0].shape()[0], C = k.in[0].shape()[1];
    for (int64_t b = 0; b < k.in[1].numel(); ++b) {
      const X* from = k.in[0].as<X>() + row_of(k.in[1], b, rows) * C;
      for (int64_t c = 0; c < C; ++c) k.out[0].as<Y>()[b * C + c] = Y(static_cast<Accum<X>>(from[c]));
    }
  });
}

struct TableShape : Attrs {
  Shape shape;
  std::string text() const override { return shape.str(); }
};

// Each thread owns rows of the table and adds their images in order.
void embedding_grad_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    const int64_t rows = k.out[0].shape()[0], C = k.out[0].shape()[1], B = k.in[1].numel();
    constexpr int64_t kRows = 64;
    k.pool->run(tile_count(rows, kRows), [&](int64_t t, int) {
      const Tile tile = tile_at(rows, kRows, t);
      Y* out = k.out[0].as<Y>();
      std::fill(out + tile.begin * C, out + tile.end * C, Y(0));
      for (int64_t b = 0; b < B; ++b) {
        const int64_t row = k.in[1].as<int64_t>()[b];
        if (row < tile.begin || row >= tile.end) continue;
        const X* dy = k.in[0].as<X>() + b * C;
        for (int64_t c = 0; c < C; ++c) out[row * C + c] = Y(static_cast<Accum<Y>>(out[row * C + c]) + static_cast<Accum<Y>>(dy[c]));
      }
    });
  });
}

}  // namespace

double position_value(int64_t token, int64_t channel, int64_t w, int64_t channels) {
  const int64_t half = channels / 2, quarter = channels / 4;
  const double place = static_cast<double>(channel < half ? token % w : token / w);
  const int64_t c = channel % half;
  const double angle = place * std::pow(10000.0, -static_cast<double>(c % quarter) / static_cast<double>(quarter));
  return c < quarter ? std::sin(angle) : std::cos(angle);
}

const OpCard timestep_embedding_card = {
    .name = "timestep_embedding",
    .shape = [](const NodeTypes& n) {
      REQUIRE(n.in[0].shape.rank() == 1, "takes one time per image (B), got " + n.in[0].shape.str());
      return std::vector{n.real_of({n.in[0].shape[0], 2 * kHalf})};
    },
    .cost = [](const NodeTypes& n) { return Cost{.flops = 20.0 * static_cast<double>(n.out[0].shape.numel()), .bytes = streamed(n)}; },
    .in_roles = {Role::kAny},
    .out_roles = {Role::kExact},
    .cpu = timestep_cpu,
    .samples = [] {
      const auto build = [](const std::vector<Value>& v) { return std::vector{timestep_embedding(v[0])}; };
      return Samples{{.in = {{DType::kI64, {3}}}, .build = build, .integer = [](int, int64_t i) { return 499 * i; }}, {.in = {{DType::kF32, {3}}}, .build = build}};
    },
};

const OpCard position_table_card = {
    .name = "position_table",
    .shape = [](const NodeTypes& n) {
      const auto& a = n.attr<PositionAttrs>();
      REQUIRE(a.channels % 4 == 0, "the position table needs channels in a multiple of 4, got " + std::to_string(a.channels));
      return std::vector{n.real_of({a.w * a.w, a.channels})};
    },
    .cost = [](const NodeTypes&) { return Cost{}; },
    .in_roles = {Role::kFixed},
    .out_roles = {Role::kFixed},
    .cpu = position_cpu,
    .constant = true,
    .samples = [] {
      return Samples{{.in = {{DType::kF32, {2, 9, 8}}}, .build = [](const std::vector<Value>& v) { return std::vector{add(v[0], position_table(*v[0].graph, 3, 8))}; }}};
    },
};

const OpCard embedding_card = {
    .name = "embedding",
    .shape = [](const NodeTypes& n) {
      REQUIRE(n.in[0].shape.rank() == 2 && n.in[1].shape.rank() == 1 && n.in[1].dtype == DType::kI64, "takes a table (rows, C) and labels (B) int64, got " + n.in[0].str() + " and " + n.in[1].str());
      return std::vector{n.real_of({n.in[1].shape[0], n.in[0].shape[1]})};
    },
    .grad = [](const GradArgs& g) { return std::vector{embedding_grad(g.dout[0], g.in[1], g.in[0].shape()), Value{}}; },
    .cost = [](const NodeTypes& n) { return Cost{.bytes = static_cast<double>(std::min(n.in[0].bytes(), n.out[0].bytes()) + n.out[0].bytes())}; },
    .in_roles = {Role::kCompute},
    .out_roles = {Role::kCompute},
    .cpu = embedding_cpu,
    .samples = [] {
      return Samples{{.in = {{DType::kF32, {5, 8}}, {DType::kI64, {7}}}, .build = [](const std::vector<Value>& v) { return std::vector{embedding(v[0], v[1])}; }, .integer = [](int, int64_t i) { return (i * 3) % 5; }}};
    },
};

const OpCard embedding_grad_card = {
    .name = "embedding_grad",
    .shape = [](const NodeTypes& n) { return std::vector{n.real_of(n.attr<TableShape>().shape)}; },
    .cost = [](const NodeTypes& n) { return Cost{.flops = static_cast<double>(n.in[0].shape.numel()), .bytes = streamed(n)}; },
    .in_roles = {Role::kAny},
    .out_roles = {Role::kWeightGradient},
    .cpu = embedding_grad_cpu,
};

Value timestep_embedding(Value t) { return t.graph->add1(timestep_embedding_card, {t}); }

Value position_table(Graph& graph, int64_t w, int64_t channels) {
  auto attrs = std::make_shared<PositionAttrs>();
  attrs->w = w;
  attrs->channels = channels;
  return graph.add1(position_table_card, {}, attrs);
}

Value embedding(Value table, Value index) { return table.graph->add1(embedding_card, {table, index}); }

Value embedding_grad(Value dy, Value index, Shape table_shape) {
  auto attrs = std::make_shared<TableShape>();
  attrs->shape = table_shape;
  return dy.graph->add1(embedding_grad_card, {dy, index}, attrs);
}

}  // namespace shardit
