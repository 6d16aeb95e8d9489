#include "ops/cast.h"

#include "core/verify.h"
#include "tests/ops/case.h"

namespace shardit {
namespace {

constexpr Precision kMixed{.compute = DType::kBF16, .residual = DType::kF32, .reduce = DType::kBF16};

std::vector<const Node*> casts_of(const Graph& graph) {
  std::vector<const Node*> casts;
  for (int n = 0; n < graph.node_count(); ++n)
    if (graph.node(n).card == &cast_card) casts.push_back(&graph.node(n));
  return casts;
}

DType type_of(Graph& graph, const std::string& output) { return graph.output(output)->dtype(); }

TEST(Precision, EveryRoleHasItsType) {
  const Precision p{.compute = DType::kBF16, .residual = DType::kF16, .reduce = DType::kBF16};
  const std::pair<Role, DType> table[] = {{Role::kCompute, DType::kBF16}, {Role::kStream, DType::kF16},
                                          {Role::kExact, DType::kF32},    {Role::kWeightGradient, DType::kF32},
                                          {Role::kAny, DType::kF64},      {Role::kFixed, DType::kF64}};
  for (const auto& [role, dtype] : table) {
    EXPECT_EQ(p.of(role, DType::kF64), dtype) << static_cast<int>(role);
    EXPECT_EQ(p.of(role, DType::kI64), DType::kI64) << static_cast<int>(role);
    EXPECT_EQ(p.of(role, DType::kU8), DType::kU8) << static_cast<int>(role);
  }
}

TEST(Cast, AValueIsCastOncePerType) {
  Case c;
  const Value x = c.in("x", {DType::kF32, {5, 12}});
  for (const char* name : {"a", "b", "c"})
    c.out(name, linear(x, c.in(std::string("w.") + name, {DType::kF32, {7, 12}}), {}));
  const Graph graph = apply_precision(c.graph, kMixed);
  EXPECT_EQ(find_violation(graph), "");
  EXPECT_EQ(casts_of(graph).size(), 4u) << "x once, and three weights";
}

TEST(Cast, FullPrecisionInsertsNothing) {
  Case c;
  c.out("y", gelu(linear(c.in("x", {DType::kF32, {5, 12}}), c.in("w", {DType::kF32, {7, 12}}), {})));
  const Graph graph = apply_precision(c.graph, {});
  EXPECT_TRUE(casts_of(graph).empty());
  EXPECT_EQ(graph.node_count(), c.graph.node_count());
}

TEST(Cast, OutputsHaveTheTypeOfTheirRole) {
  Case c;
  const Value x = c.in("x", {DType::kF32, {5, 12}}), w = c.in("w", {DType::kF32, {12, 12}});
  const Value product = linear(x, w, {}), stream = residual_stream(product);
  c.out("product", product);                             // kCompute
  c.out("stream", stream);                               // kStream
  c.out("sum", add(stream, product));                    // kAny: the first input's
  c.out("weights", linear_wgrad(product, x, {12, 12}));  // kWeightGradient
  c.out("statistics", layer_norm(product, 1e-6)[1]);     // kExact
  Graph graph = apply_precision(c.graph, kMixed);
  EXPECT_EQ(find_violation(graph), "");
  const std::pair<const char*, DType> expected[] = {{"product", DType::kBF16},
                                                    {"stream", DType::kF32},
                                                    {"sum", DType::kF32},
                                                    {"weights", DType::kF32},
                                                    {"statistics", DType::kF32}};
  for (const auto& [name, dtype] : expected) EXPECT_EQ(type_of(graph, name), dtype) << name;
}

TEST(Cast, IntegersAndFixedInputsStayAsTheyAre) {
  Case c;
  const Value labels = c.in("labels", {DType::kI64, {3}}), image = c.in("image", {DType::kU8, {2, 4}});
  c.out("dropped", drop_labels(labels, labels, 0.5, 7, 1));
  c.out("pixels", image_to_real(image));
  c.out("rows", embedding(c.in("table", {DType::kF32, {9, 8}}), labels));
  Graph graph = apply_precision(c.graph, kMixed);
  EXPECT_EQ(type_of(graph, "dropped"), DType::kI64);
  EXPECT_EQ(type_of(graph, "pixels"), DType::kF32);
  for (const Node* cast : casts_of(graph)) EXPECT_EQ(graph.info(cast->in[0]).type.shape, (Shape{9, 8}));
}

TEST(Cast, ACastCarriesTheLabelAndThePassOfItsReader) {
  Case c;
  const Value x = c.in("x", {DType::kF32, {5, 12}}), w = c.in("w", {DType::kF32, {12, 12}});
  const auto unit = c.graph.unit_scope("blocks.1");
  c.graph.set_backward(true);
  c.out("y", linear(x, w, {}));
  const Graph graph = apply_precision(c.graph, kMixed);
  for (const Node* cast : casts_of(graph)) {
    EXPECT_EQ(cast->label, "blocks.1");
    EXPECT_EQ(cast->unit, "blocks.1");
    EXPECT_TRUE(cast->backward);
  }
}

// A product of operands that bf16 cannot hold: the cast is really there, and rounds to nearest even.
TEST(Cast, OperandsAreRoundedBeforeTheyAreMultiplied) {
  Case c;
  c.out("y", linear(c.in("x", {DType::kF32, {1, 1}}), c.in("w", {DType::kF32, {1, 1}}), {}));
  c.graph = apply_precision(c.graph, kMixed);
  c.compile();
  c.set("x", std::vector<float>{1 + 0x1p-8f});    // half way: to the even 1
  c.set("w", std::vector<float>{1 + 0x1.8p-7f});  // half way: to the even 1 + 2^-6
  c.run();
  EXPECT_EQ(static_cast<float>(c.get<BF16>("y")[0]), 1 + 0x1p-6f);
}

}  // namespace
}  // namespace shardit
