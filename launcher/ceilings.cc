#include "launcher/ceilings.h"

#include <algorithm>

#include "core/program.h"
#include "core/random.h"
#include "launcher/format.h"
#include "launcher/progress.h"
#include "launcher/run_device.h"
#include "ops/cast.h"
#include "ops/kernel.h"
#include "ops/ops.h"
#include "ops/product_choices.h"

namespace shardit {
namespace {

// Long enough for the clock, short enough for a turn.
constexpr double kTurnSeconds = 0.02;
constexpr int kTurns = 5;

// One op on named inputs of a device, over and over.
class Repeated {
 public:
  Repeated(Device& device, int threads, const Graph& graph)
      : pool_(threads),
        program_(compile({{"op", graph}}, target_of(device, threads)), device, pool_) {
    for (int n = 0; n < graph.node_count(); ++n)
      if (graph.node(n).card == &input_card) fill(graph.info(graph.node(n).out[0]));
  }

  // Seconds of one run, the best of several turns: what disturbs a turn only makes it longer.
  double best_seconds() {
    int times = 1;
    double best = turn(times);
    while (best < kTurnSeconds) best = turn(times *= 2);
    for (int i = 1; i < kTurns; ++i) best = std::min(best, turn(times));
    return best / times;
  }

 private:
  double turn(int times) {
    const double begin = steady_seconds();
    for (int i = 0; i < times; ++i) program_.run(0);
    program_.synchronize();
    return steady_seconds() - begin;
  }

  // Normal numbers: zeros would cost less power, and so run at a higher clock.
  void fill(const ValueInfo& value) {
    static const std::vector<float> normals = [] {
      const Philox philox(1, Purpose::kSynthetic);
      std::vector<float> x(65536);
      for (size_t i = 0; i < x.size(); ++i) x[i] = normal_at(philox, 0, i);
      return x;
    }();
    visit_real(value.type.dtype, [&]<typename T>(T) {
      std::vector<T> x(static_cast<size_t>(value.type.shape.numel()));
      for (size_t i = 0; i < x.size(); ++i) x[i] = T(normals[i % normals.size()]);
      program_.upload(value.buffer, x.data(), value.type.bytes());
    });
  }

  Pool pool_;
  Program program_;
};

Value operand(Graph& graph, const char* name, Shape shape) {
  return input(graph, name, {DType::kF32, shape}, BufferClass::kActivations, Role::kCompute);
}

std::string gflops(double per_s) { return format_number(per_s * 1e-9, 3); }

}  // namespace

// The faster of the products of a square linear layer: forward, and the gradients of its input and its weight.
double measure_products(Device& device, int threads, DType dtype) {
  const int64_t n = device.kernels() == Kernels::kCuda ? 8192 : 1024;
  using Layer = Value (*)(Value, Value);
  double best = 0;
  for (const Layer layer : {Layer([](Value x, Value w) { return linear(x, w, {}); }),
                            Layer([](Value x, Value w) { return linear_dgrad(x, w); }),
                            Layer([](Value x, Value w) { return linear_wgrad(x, w, w.shape()); })}) {
    Graph graph;
    graph.name_output(layer(operand(graph, "x", {n, n}), operand(graph, "w", {n, n})), "y");
    Repeated product(device, threads, apply_precision(graph, {.compute = dtype}));
    best = std::max(best, 2.0 * static_cast<double>(n * n * n) / product.best_seconds());
  }
  return best;
}

Ceilings::Copy measure_copy(Device& device, int threads, int64_t bytes) {
  Graph graph;
  graph.name_output(copy(operand(graph, "x", {bytes / 2 / static_cast<int64_t>(sizeof(float))})), "y");
  const double moved = static_cast<double>(bytes);
  return {moved, moved / Repeated(device, threads, graph).best_seconds()};
}

const char* name_of(Floor::Limit limit) { return limit == Floor::Limit::kFlops ? "flops" : "bytes"; }

double Ceilings::bytes_per_s(double bytes) const {
  const Copy* nearest = &copies.front();
  for (const Copy& copy : copies)
    if (copy.bytes <= bytes) nearest = &copy;
  return nearest->bytes_per_s;
}

Floor Ceilings::floor(const Cost& cost, DType products) const {
  const double flops_ms = (cost.matmul_flops / flops_per_s(products) + cost.flops / fp32_flops_per_s) * 1e3;
  const double bytes_ms = cost.bytes / bytes_per_s(cost.bytes) * 1e3;
  return flops_ms > bytes_ms ? Floor{flops_ms, Floor::Limit::kFlops} : Floor{bytes_ms, Floor::Limit::kBytes};
}

Ceilings measure_ceilings(Device& device, int threads, bool tf32) {
  const ProductsToldBy way(nullptr, tf32);
  Ceilings ceilings{.tf32 = tf32,
                    .fp32_flops_per_s = measure_products(device, threads, DType::kF32),
                    .bf16_flops_per_s = measure_products(device, threads, DType::kBF16)};
  for (int64_t mib : {1, 4, 16, 64, 256}) ceilings.copies.push_back(measure_copy(device, threads, mib << 20));
  return ceilings;
}

double stated_bf16_flops(const std::string& model) {
  const bool hopper = model.find("H200") != std::string::npos || model.find("H100 80GB HBM3") != std::string::npos;
  return hopper ? 989e12 : 0;
}

Json to_json(const Ceilings& ceilings) {
  Json copies = Json::array();
  for (const Ceilings::Copy& copy : ceilings.copies)
    copies.push_back({{"bytes", copy.bytes}, {"gb_per_s", copy.bytes_per_s * 1e-9}});
  return {{ceilings.tf32 ? "tf32_gflop_per_s" : "fp32_gflop_per_s", ceilings.fp32_flops_per_s * 1e-9},
          {"bf16_gflop_per_s", ceilings.bf16_flops_per_s * 1e-9},
          {"copies", copies}};
}

std::string text_of(const Ceilings& c) {
  std::string text = "products " + gflops(c.fp32_flops_per_s) + " GFLOP/s in " + (c.tf32 ? "tf32, " : "fp32, ") +
                     gflops(c.bf16_flops_per_s) + " in bf16; copies of";
  for (const Ceilings::Copy& copy : c.copies)
    text += (&copy == &c.copies.front() ? " " : ", ") + format_bytes(copy.bytes) + " " +
            format_number(copy.bytes_per_s * 1e-9, 3);
  return text + " GB/s, bytes read and written both counted";
}

}  // namespace shardit
