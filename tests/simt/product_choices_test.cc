// What the device kernels ask about their products' algorithms when they are prepared.
#include "ops/product_choices.h"

#include <gtest/gtest.h>

#include "ops/linear.h"
#include "ops/ops.h"

namespace shardit {
namespace {

using Keys = std::vector<std::string>;

class Asked : public ProductChoices {
 public:
  const LibraryAlgorithm* find(const Product& product, int64_t alignment) const override {
    keys.push_back(key_of(product, alignment));
    return nullptr;
  }
  mutable Keys keys;
};

// By the last node of what `build` makes of inputs (40, 16), (24, 16) and (24).
Keys asked_for(DType dtype, const std::function<void(Value, Value, Value)>& build, bool tf32 = false) {
  Graph graph(dtype);
  const auto make = [&](const char* name, Shape shape) {
    return input(graph, name, {dtype, shape}, BufferClass::kActivations);
  };
  build(make("x", {40, 16}), make("w", {24, 16}), make("b", {24}));
  const Node& node = graph.node(graph.node_count() - 1);
  const Asked asked;
  const ProductsToldBy note_them(&asked, tf32);
  node.card->cuda_prepare(types_of(graph, node));
  return asked.keys;
}

TEST(ProductChoices, AProductIsAskedForAsTheLibraryWillMakeIt) {
  EXPECT_EQ(asked_for(DType::kF32, [](Value x, Value w, Value b) { linear(x, w, b); }),
            Keys{"40x24x16 fp32:16:1 fp32:1:16 fp32:24:1 bias align 16"});
  EXPECT_EQ(asked_for(DType::kBF16, [](Value x, Value w, Value) { linear_dgrad(linear(x, w, {}), w); }),
            Keys{"40x16x24 bf16:24:1 bf16:16:1 bf16:16:1 align 16"});
  EXPECT_EQ(asked_for(DType::kBF16,
                      [](Value x, Value w, Value) {
                        linear_wgrad_bias(linear(x, w, {}), x, {24, 16});
                      }),
            Keys{"24x16x40 bf16:1:24 bf16:16:1 bf16:16:1 align 16"});
}

TEST(ProductChoices, OnlyProductsOfSinglePrecisionAreToldToUseTf32) {
  const auto layer = [](Value x, Value w, Value b) { linear(x, w, b); };
  EXPECT_EQ(asked_for(DType::kF32, layer, true), Keys{"40x24x16 fp32:16:1 fp32:1:16 fp32:24:1 tf32 bias align 16"});
  EXPECT_EQ(asked_for(DType::kBF16, layer, true), Keys{"40x24x16 bf16:16:1 bf16:1:16 bf16:24:1 bias align 16"});
}

// The plain one is for operands that do not suit the library's epilogue.
TEST(ProductChoices, AProductWithAnEpilogueIsAskedForWithAndWithout) {
  EXPECT_EQ(asked_for(DType::kBF16, [](Value x, Value w, Value b) { linear_gelu(x, w, b); }),
            (Keys{"40x24x16 bf16:16:1 bf16:1:16 bf16:24:1 bias align 16",
                  "40x24x16 bf16:16:1 bf16:1:16 bf16:24:1 bias gelu align 16"}));
  EXPECT_EQ(asked_for(DType::kF32, [](Value x, Value w, Value b) { linear_gelu(x, w, b); }),
            Keys{"40x24x16 fp32:16:1 fp32:1:16 fp32:24:1 bias align 16"});
}

}  // namespace
}  // namespace shardit
