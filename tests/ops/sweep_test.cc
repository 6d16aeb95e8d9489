// The sweep: reads the cards and checks every field of every op. A card without samples is covered when a gradient
// rule of another card uses it; one that nothing covers fails the sweep.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "core/program.h"
#include "core/verify.h"
#include "ops/cast.h"
#include "tests/ops/sample_graph.h"

namespace shardit {
namespace {

// Memory that is full of NaNs at the start: a kernel that reads what nobody wrote is seen.
class PoisonedDevice : public Device {
 public:
  const char* name() const override { return "poisoned"; }
  void* allocate(size_t bytes) override {
    void* memory = cpu_->allocate(bytes);
    std::memset(memory, 0xff, bytes);
    return memory;
  }
  void release(void* memory, size_t bytes) override { cpu_->release(memory, bytes); }
  void launch(Stream s, const OpCard& card, const KernelArgs& args, Trace::Span* when) override {
    cpu_->launch(s, card, args, when);
  }
  void copy_in(Stream s, void* d, const void* h, size_t n) override { cpu_->copy_in(s, d, h, n); }
  void copy_out(Stream s, void* h, const void* d, size_t n) override { cpu_->copy_out(s, h, d, n); }
  void record(Stream, int) override {}
  void wait(Stream, int) override {}
  void synchronize(Stream) override {}

 private:
  std::unique_ptr<Device> cpu_ = make_cpu_device();
};

// Runs a graph on inputs and returns its named outputs.
class Runner {
 public:
  explicit Runner(const Graph& graph, int threads = 1, Pool::Deal deal = Pool::Deal::kFirstCome)
      : pool_(threads, deal),
        program_(compile({{"g", graph}}, threads), device_, pool_) {}

  std::map<std::string, Tensor> run(const std::vector<Tensor>& in) {
    for (size_t k = 0; k < in.size(); ++k) set("in" + std::to_string(k), in[k]);
    return run();
  }

  std::map<std::string, Tensor> run() {
    program_.run("g");
    std::map<std::string, Tensor> result;
    for (const auto& [name, v] : program_.graph(0).outputs()) {
      const TensorRef t = program_.output("g", name);
      for (int64_t i = 0; i < t.numel(); ++i) result[name].push_back(element(t, i));
    }
    return result;
  }

  void set(const std::string& name, const Tensor& x) {
    if (!program_.has_buffer(name)) return;  // a constant formula does not read its inputs
    for (int n = 0; n < program_.graph(0).node_count(); ++n) {
      const Node& node = program_.graph(0).node(n);
      if (node.label != name || node.card != &input_card) continue;
      for (size_t i = 0; i < x.size(); ++i)
        store(program_.host_pointer(name), program_.graph(0).info(node.out[0]).type.dtype, static_cast<int64_t>(i),
              x[i]);
    }
  }

 private:
  PoisonedDevice device_;
  Pool pool_;
  Program program_;
};

double largest(const Tensor& x) {
  double m = 0;
  for (double v : x) m = std::max(m, std::fabs(v));
  return m;
}

void expect_close(const Tensor& a, const Tensor& b, double tolerance, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  const double scale = std::max(largest(b), 1e-3);
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_LE(std::fabs(a[i] - b[i]), tolerance * scale) << what << " element " << i << ": " << a[i] << " and " << b[i];
}

void expect_equal(const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b,
                  const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, x] : a)
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(x[i], b.at(name)[i]) << what << " " << name << " element " << i;
}

class Sweep : public testing::TestWithParam<const OpCard*> {
 protected:
  Samples samples() const { return GetParam()->samples ? GetParam()->samples() : Samples{}; }
};

std::map<std::string, Tensor> run_gradient(const GradientCase& c, const Graph& graph, const std::vector<Tensor>& in,
                                           int threads = 1, Pool::Deal deal = Pool::Deal::kFirstCome) {
  Runner runner(graph, threads, deal);
  for (size_t k = 0; k < c.weights.size(); ++k) runner.set("weight" + std::to_string(k), c.weights[k]);
  return runner.run(in);
}

TEST_P(Sweep, GradientsMatchFiniteDifferences) {
  for (const Sample& sample : samples()) {
    if (!differentiable(*GetParam(), sample)) continue;
    const GradientCase c = gradient_case(sample, DType::kF64);
    std::vector<Tensor> in = sample_inputs(sample);
    const auto result = run_gradient(c, c.built->graph, in);
    const auto forward = build(sample, DType::kF64);
    Runner runner(forward->graph);
    const auto value_at = [&]() {
      double sum = 0;
      const auto out = runner.run(in);
      for (size_t k = 0; k < c.weights.size(); ++k)
        for (size_t i = 0; i < c.weights[k].size(); ++i) sum += c.weights[k][i] * out.at("out" + std::to_string(k))[i];
      return sum;
    };
    for (int k : c.wrt) {
      const Tensor& gradient = result.at("grad" + std::to_string(k));
      const double scale = std::max(largest(gradient), 1e-3);
      const size_t stride = std::max<size_t>(1, in[k].size() / 23);
      for (size_t i = 0; i < in[k].size(); i += stride) {
        const double x = in[k][i], h = 1e-5;
        in[k][i] = x + h;
        const double above = value_at();
        in[k][i] = x - h;
        const double below = value_at();
        in[k][i] = x;
        // Central differences in fp64: truncation h^2 = 1e-10, rounding 1e-16 * |f| / h = 1e-9.
        ASSERT_NEAR(gradient[i], (above - below) / (2 * h), 2e-6 * scale)
            << GetParam()->name << " input " << k << " element " << i;
      }
    }
  }
}

TEST_P(Sweep, SinglePrecisionMatchesDouble) {
  for (const Sample& sample : samples()) {
    const std::vector<Tensor> in = sample_inputs(sample);
    const bool with_gradient = differentiable(*GetParam(), sample);
    const auto graph_of = [&](DType real) {
      return with_gradient ? gradient_case(sample, real) : GradientCase{build(sample, real), {}, {}};
    };
    const GradientCase single = graph_of(DType::kF32), twice = graph_of(DType::kF64);
    const auto a = run_gradient(single, single.built->graph, in), b = run_gradient(twice, twice.built->graph, in);
    // Sums of up to 300 terms of size 1 in fp32.
    for (const auto& [name, x] : a) expect_close(x, b.at(name), 2e-5, std::string(GetParam()->name) + " " + name);
  }
}

TEST_P(Sweep, HalfPrecisionStaysNearSingle) {
  const Precision bf16{.compute = DType::kBF16, .residual = DType::kBF16, .reduce = DType::kBF16};
  for (const Sample& sample : samples()) {
    const std::vector<Tensor> in = sample_inputs(sample);
    const bool with_gradient = differentiable(*GetParam(), sample);
    const GradientCase c =
        with_gradient ? gradient_case(sample, DType::kF32) : GradientCase{build(sample, DType::kF32), {}, {}};
    const Graph cast_graph = apply_precision(c.built->graph, bf16);
    ASSERT_EQ(find_violation(cast_graph), "");
    const auto a = run_gradient(c, c.built->graph, in), b = run_gradient(c, cast_graph, in);
    // A bf16 operand is off by 2^-9 relative; a handful of roundings in a row, relative to the largest element.
    for (const auto& [name, x] : b) expect_close(x, a.at(name), 3e-2, std::string(GetParam()->name) + " " + name);
  }
}

TEST_P(Sweep, ThreadsDoNotChangeBits) {
  for (const Sample& sample : samples()) {
    const std::vector<Tensor> in = sample_inputs(sample);
    const GradientCase c = differentiable(*GetParam(), sample) ? gradient_case(sample, DType::kF32)
                                                               : GradientCase{build(sample, DType::kF32), {}, {}};
    const auto one = run_gradient(c, c.built->graph, in, 1);
    expect_equal(one, run_gradient(c, c.built->graph, in, 3), GetParam()->name);
  }
}

// Real threads deal out tiles as they please, and the first may take all of a small op. Here tiles come in drawn orders
// under drawn thread numbers.
TEST_P(Sweep, NoOrderOfTilesChangesBits) {
  for (const Sample& sample : samples()) {
    const std::vector<Tensor> in = sample_inputs(sample);
    const GradientCase c = differentiable(*GetParam(), sample) ? gradient_case(sample, DType::kF32)
                                                               : GradientCase{build(sample, DType::kF32), {}, {}};
    const auto one = run_gradient(c, c.built->graph, in, 1);
    for (int threads : {2, 3, 7})
      expect_equal(one, run_gradient(c, c.built->graph, in, threads, Pool::Deal::kShuffled), GetParam()->name);
  }
}

TEST_P(Sweep, ReusedMemoryDoesNotChangeBits) {
  for (const Sample& sample : samples()) {
    const std::vector<Tensor> in = sample_inputs(sample);
    Runner apart(build(sample, DType::kF32)->graph), reused(build(sample, DType::kF32, copy)->graph);
    expect_equal(apart.run(in), reused.run(in), GetParam()->name);
  }
}

TEST_P(Sweep, ExpandEqualsTheFusedKernel) {
  if (!GetParam()->expand) return;
  ASSERT_TRUE(GetParam()->samples) << GetParam()->name << " has an expansion but no samples";
  for (const Sample& sample : samples()) {
    const std::vector<Tensor> in = sample_inputs(sample);
    const auto fused = build(sample, DType::kF32);
    Built small{Graph(DType::kF32), {}, {}};
    for (size_t k = 0; k < sample.in.size(); ++k)
      small.in.push_back(input(small.graph, "in" + std::to_string(k), sample.in[k], BufferClass::kActivations));
    small.out = GetParam()->expand(small.in, attrs_of(*GetParam(), sample).get());
    for (size_t k = 0; k < small.out.size(); ++k) small.graph.name_output(small.out[k], "out" + std::to_string(k));
    Runner a(fused->graph), b(small.graph);
    const auto x = a.run(in), y = b.run(in);
    for (const auto& [name, t] : x) expect_close(t, y.at(name), 2e-6, GetParam()->name);
  }
}

TEST_P(Sweep, CostCountsAtLeastTheFloor) {
  for (const Sample& sample : samples()) {
    const auto b = build(sample, DType::kF32);
    for (int n = 0; n < b->graph.node_count(); ++n) {
      const Node& node = b->graph.node(n);
      if (node.card != GetParam()) continue;
      const Cost cost = node.card->cost(types_of(b->graph, node));
      EXPECT_GE(cost.bytes + cost.flops + cost.matmul_flops, 0) << GetParam()->name;
      EXPECT_LE(cost.bytes, 1.001 * streamed(types_of(b->graph, node)))
          << GetParam()->name << ": the byte floor counts each tensor at most once";
    }
  }
}

std::string card_name(const testing::TestParamInfo<const OpCard*>& info) { return info.param->name; }
INSTANTIATE_TEST_SUITE_P(Cards, Sweep, testing::ValuesIn(all_cards()), card_name);

TEST(SweepCoverage, EveryCardIsReached) {
  std::set<std::string> reached;
  for (const OpCard* card : all_cards()) {
    if (!card->samples) continue;
    for (const Sample& sample : card->samples()) {
      const GradientCase c = differentiable(*card, sample) ? gradient_case(sample, DType::kF32)
                                                           : GradientCase{build(sample, DType::kF32), {}, {}};
      for (int n = 0; n < c.built->graph.node_count(); ++n) reached.insert(c.built->graph.node(n).card->name);
    }
  }
  for (const OpCard* card : all_cards())
    EXPECT_TRUE(reached.contains(card->name)) << card->name << " has no samples and no gradient rule uses it";
}

}  // namespace
}  // namespace shardit
