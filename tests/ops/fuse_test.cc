#include "ops/fuse.h"

#include <algorithm>
#include <cstring>

#include "core/verify.h"
#include "ops/cast.h"
#include "ops/differentiate.h"
#include "tests/ops/case.h"
#include "tests/ops/sample_graph.h"

namespace shardit {
namespace {

int count(const Graph& graph, const OpCard& card) {
  int n = 0;
  for (int i = 0; i < graph.node_count(); ++i) n += graph.node(i).card == &card;
  return n;
}

// x (5, 12), w (7, 12), b (7); then y (5, 9) = gelu(x w^T + b) v^T.
struct Mlp {
  Graph graph;
  Value x, w, b, v, z, hidden, y;

  explicit Mlp(bool bias = true) {
    const auto in = [&](const char* name, Shape shape) {
      return input(graph, name, {DType::kF32, shape}, BufferClass::kActivations);
    };
    x = in("x", {5, 12}), w = in("w", {7, 12}), b = in("b", {7}), v = in("v", {9, 7});
    const auto scope = graph.unit_scope("blocks.3.mlp");
    z = linear(x, w, bias ? b : Value{});
    hidden = gelu(z);
    y = linear(hidden, v, {});
    graph.name_output(y, "y");
  }
};

TEST(Fuse, MakesLinearAndGeluOneNodeUnderItsLabelAndUnit) {
  const Graph fused = fuse(Mlp().graph);
  EXPECT_EQ(find_violation(fused), "");
  EXPECT_EQ(count(fused, linear_gelu_card), 1);
  EXPECT_EQ(count(fused, gelu_card), 0);
  EXPECT_EQ(count(fused, linear_card), 1) << "the second layer stays";
  for (int n = 0; n < fused.node_count(); ++n)
    if (fused.node(n).card == &linear_gelu_card) {
      EXPECT_EQ(fused.node(n).label, "blocks.3.mlp");
      EXPECT_EQ(fused.node(n).unit, "blocks.3.mlp");
    }
}

TEST(Fuse, ALinearLayerWithoutBiasIsNotTakenForOneWithBias) {
  const Graph fused = fuse(Mlp(false).graph);
  EXPECT_EQ(count(fused, linear_gelu_card), 0);
  EXPECT_EQ(count(fused, gelu_card), 1);
}

TEST(Fuse, FusesTheBackwardToo) {
  Mlp mlp;
  const Value target = input(mlp.graph, "target", {DType::kF32, {5, 9}}, BufferClass::kActivations);
  const Value total = weighted_sum(mean_squared_error(mlp.y, target), 1);
  mlp.graph.name_output(differentiate(mlp.graph, total, {mlp.w})[0], "dw");
  const Graph fused = fuse(mlp.graph);
  EXPECT_EQ(find_violation(fused), "");
  EXPECT_EQ(count(fused, linear_gelu_card), 1) << "z is a result of the fused node: the backward may read it";
  EXPECT_EQ(count(fused, linear_dgrad_gelu_card), 1);
  EXPECT_EQ(count(fused, gelu_grad_card), 0);
}

TEST(Fuse, DoesNotHideAValueThatIsReadElsewhere) {
  Mlp mlp;
  const Value dy = input(mlp.graph, "dy", {DType::kF32, {5, 9}}, BufferClass::kActivations);
  const Value hidden_gradient = linear_dgrad(dy, mlp.v);
  mlp.graph.name_output(gelu_grad(mlp.z, hidden_gradient), "dz");
  const Graph before = mlp.graph;
  EXPECT_EQ(count(fuse(before), linear_dgrad_gelu_card), 1);
  mlp.graph.name_output(silu(hidden_gradient), "second");
  EXPECT_EQ(count(fuse(mlp.graph), linear_dgrad_gelu_card), 0);
}

TEST(Fuse, DoesNotHideAValueThatIsAnOutput) {
  Mlp mlp;
  const Value dy = input(mlp.graph, "dy", {DType::kF32, {5, 9}}, BufferClass::kActivations);
  const Value hidden_gradient = linear_dgrad(dy, mlp.v);
  mlp.graph.name_output(gelu_grad(mlp.z, hidden_gradient), "dz");
  mlp.graph.keep(hidden_gradient, "dh");
  const Graph fused = fuse(mlp.graph);
  EXPECT_EQ(count(fused, linear_dgrad_gelu_card), 0);
  EXPECT_TRUE(fused.outputs().contains("dh"));
}

TEST(Fuse, DoesNotFuseWhatIsReadBeforeTheRoot) {
  Graph g;
  const auto in = [&](const char* name, Shape shape) {
    return input(g, name, {DType::kF32, shape}, BufferClass::kActivations);
  };
  const Value z = linear(in("x", {5, 12}), in("w", {7, 12}), in("b", {7}));
  g.name_output(silu(z), "early");
  g.name_output(gelu(z), "late");
  EXPECT_EQ(count(fuse(g), linear_gelu_card), 0);
}

TEST(Fuse, DoesNotFuseAcrossPasses) {
  Graph g;
  const auto in = [&](const char* name, Shape shape) {
    return input(g, name, {DType::kF32, shape}, BufferClass::kActivations);
  };
  const Value z = linear(in("x", {5, 12}), in("w", {7, 12}), in("b", {7}));
  g.set_backward(true);
  g.name_output(gelu(z), "y");
  EXPECT_EQ(count(fuse(g), linear_gelu_card), 0);
}

// x + y, normalised; the gradients of the residual stream and of a linear layer on it.
struct Residual {
  Graph graph;
  Value x, sum, out, total;

  explicit Residual(int readers = 1, double epsilon = 1e-5) {
    const auto in = [&](const char* name, Shape shape) {
      return input(graph, name, {DType::kF32, shape}, BufferClass::kActivations);
    };
    x = in("x", {6, 8});
    {
      const auto scope = graph.unit_scope("blocks.0");
      sum = add(x, in("y", {6, 8}));
    }
    const auto scope = graph.unit_scope("blocks.1");
    const Value normal = layer_norm(sum, epsilon)[0];
    out = add(sum, linear(normal, in("w", {8, 8}), in("b", {8})));
    total = weighted_sum(mean_squared_error(out, in("target", {6, 8})), 1);
    for (int r = 1; r < readers; ++r) graph.name_output(silu(sum), "reader");
  }
};

TEST(Fuse, AResidualSumIsNormalisedAcrossUnits) {
  Residual r;
  const Graph fused = fuse(r.graph);
  EXPECT_EQ(find_violation(fused), "");
  EXPECT_EQ(count(fused, add_layer_norm_card), 1);
  EXPECT_EQ(count(fused, layer_norm_card), 0);
  EXPECT_EQ(count(fused, add_card), 1) << "the sum behind the layer has no norm after it";
}

TEST(Fuse, AFusedNodeHasTheAttributesOfWhatItStandsFor) {
  const Graph fused = fuse(Residual(1, 0.25).graph);
  for (int n = 0; n < fused.node_count(); ++n)
    if (fused.node(n).card == &add_layer_norm_card) {
      EXPECT_EQ(fused.node(n).attrs->text(), "epsilon 0.250000");
    }
}

TEST(Fuse, GradientsOfAStreamAreAddedWhereTheNormsGradientIsMade) {
  Residual r;
  const Value y = r.graph.value(r.graph.producer(r.sum.id).in[1]);
  r.graph.name_output(differentiate(r.graph, r.total, {r.x, y})[0], "dx");
  const Graph fused = fuse(r.graph);
  EXPECT_EQ(find_violation(fused), "");
  EXPECT_EQ(count(fused, layer_norm_grad_add_card), 1);
  EXPECT_EQ(count(fused, layer_norm_grad_card), 0);
}

TEST(Fuse, TheSumOfGradientsIsAlsoGivenInTheTypeOfTheProducts) {
  Graph g;
  std::vector<Value> in;
  for (const Shape& shape : {Shape{6, 8}, Shape{6, 8}, Shape{6}, Shape{6}, Shape{6, 8}})
    in.push_back(input(g, "in" + std::to_string(in.size()), {DType::kF32, shape}, BufferClass::kActivations));
  const Value sum = add(layer_norm_grad(in[0], in[1], in[2], in[3]), in[4]);
  g.name_output(sum, "sum");
  g.name_output(cast(sum, DType::kBF16), "copy");
  const Graph fused = fuse(g);
  EXPECT_EQ(count(fused, layer_norm_grad_add_cast_card), 1);
  EXPECT_EQ(count(fused, cast_card) + count(fused, layer_norm_grad_add_card), 0);
  EXPECT_EQ(fused.info(fused.outputs().at("copy")).type.dtype, DType::kBF16);
}

TEST(Fuse, TheGradientOfABiasIsTakenWithItsWeights) {
  Mlp mlp;
  const Value target = input(mlp.graph, "target", {DType::kF32, {5, 9}}, BufferClass::kActivations);
  const Value total = weighted_sum(mean_squared_error(mlp.y, target), 1);
  const std::vector<Value> d = differentiate(mlp.graph, total, {mlp.w, mlp.b, mlp.v});
  mlp.graph.name_output(d[0], "dw"), mlp.graph.name_output(d[1], "db"), mlp.graph.name_output(d[2], "dv");
  const Graph fused = fuse(mlp.graph);
  EXPECT_EQ(find_violation(fused), "");
  EXPECT_EQ(count(fused, linear_wgrad_bias_card), 1);
  EXPECT_EQ(count(fused, sum_leading_card), 0);
  EXPECT_EQ(count(fused, linear_wgrad_card), 1) << "the second layer has no bias";
  EXPECT_EQ(fused.producer(fused.outputs().at("db")).in, fused.producer(fused.outputs().at("dw")).in);
}

TEST(Fuse, ASumOverOtherAxesIsNoGradientOfABias) {
  Graph g;
  const auto in = [&](const char* name, Shape shape) {
    return input(g, name, {DType::kF32, shape}, BufferClass::kActivations);
  };
  const Value dy = in("dy", {5, 3, 4});
  g.name_output(linear_wgrad(dy, in("x", {5, 3, 2}), {4, 2}), "dw");
  g.name_output(sum_leading(dy, {3, 4}), "d");
  EXPECT_EQ(count(fuse(g), linear_wgrad_bias_card), 0);
}

// Whatever the pass replaces, it replaces by the same bits, in every precision: the promise of ops/fuse.h.
TEST(Fuse, EveryFusedCardGivesTheBitsOfItsExpansion) {
  for (const OpCard* card : all_cards()) {
    if (!card->expand) continue;
    const Sample sample = card->samples()[0];
    for (const DType compute : {DType::kF32, DType::kBF16}) {
      Case apart;
      std::vector<Value> in;
      for (size_t k = 0; k < sample.in.size(); ++k)
        in.push_back(residual_stream(apart.in("in" + std::to_string(k), sample.in[k])));
      const std::vector<Value> out = card->expand(in, attrs_of(*card, sample).get());
      for (size_t k = 0; k < out.size(); ++k) apart.out("out" + std::to_string(k), out[k]);
      apart.graph = apply_precision(apart.graph, {.compute = compute, .residual = compute});
      Case fused;
      fused.graph = fuse(apart.graph);
      EXPECT_EQ(count(fused.graph, *card), 1) << card->name << " does not find its own expansion";
      for (Case* c : {&apart, &fused}) {
        c->compile();
        for (size_t k = 0; k < sample.in.size(); ++k)
          c->set("in" + std::to_string(k), normals(k, sample.in[k].shape.numel()));
        c->run();
      }
      for (size_t k = 0; k < out.size(); ++k) {
        const TensorRef a = apart.program().output("case", "out" + std::to_string(k));
        const TensorRef b = fused.program().output("case", "out" + std::to_string(k));
        ASSERT_EQ(a.type, b.type);
        EXPECT_EQ(std::memcmp(a.data, b.data, a.type.bytes()), 0) << card->name << " in " << name_of(compute);
      }
    }
  }
}

}  // namespace
}  // namespace shardit
