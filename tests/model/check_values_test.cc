// Check values of the released model and its diffusion: counts, tables and costs that can be computed without weights.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "core/error.h"
#include "model/ddpm_schedule.h"
#include "model/diffit.h"
#include "model/guidance.h"
#include "model/sampler.h"
#include "ops/ops.h"

namespace shardit {
namespace {

DiffitConfig xl(int64_t input_size) { return {.input_size = input_size}; }

int64_t released_elements(const DiffitConfig& config) {
  return diffit_layout(config).parameters() + config.tokens() * config.hidden_size;  // and the position table
}

TEST(DiffitXl, HasTheReleasedNumberOfElements) {
  EXPECT_EQ(released_elements(xl(32)), 561330144);
  EXPECT_EQ(released_elements(xl(64)), 563562464);
  EXPECT_EQ(diffit_layout(xl(32)).parameters(), 561035232);
  EXPECT_EQ(diffit_layout(xl(64)).parameters(), 562382816);
}

TEST(DiffitXl, HasTheReleasedNamesAndShapes) {
  const Layout layout = diffit_layout(xl(32));
  std::map<std::string, Shape> shapes;
  for (const Unit& unit : layout.units)
    for (const Param& p : unit.params) shapes[p.name] = p.shape;
  EXPECT_EQ(shapes.size() + 1 + 28, 346u);  // and pos_embed, and an index per block
  EXPECT_EQ(shapes.at("x_embedder.proj.weight"), (Shape{1152, 4, 2, 2}));
  EXPECT_EQ(shapes.at("t_embedder.mlp.0.weight"), (Shape{1152, 256}));
  EXPECT_EQ(shapes.at("y_embedder.embedding_table.weight"), (Shape{1001, 1152}));
  EXPECT_EQ(shapes.at("blocks.27.attn.relative_position_bias_table"), (Shape{961, 16}));
  EXPECT_EQ(shapes.at("blocks.0.attn.qkv_temb.weight"), (Shape{3456, 1152}));
  EXPECT_EQ(shapes.at("blocks.0.mlp.fc1.weight"), (Shape{4608, 1152}));
  EXPECT_EQ(shapes.at("final_layer.linear.weight"), (Shape{32, 1152}));
}

TEST(ReleasedConstants, PositionTableAndIndexFollowTheirFormulas) {
  const DiffitConfig config{.input_size = 8, .hidden_size = 64, .depth = 2, .num_heads = 4};
  const auto constants = released_constants(config);
  ASSERT_EQ(constants.size(), 3u);
  EXPECT_EQ(constants[0].shape, (Shape{1, 16, 64}));
  // Token 6 of a 4 x 4 grid is row 1, column 2; channel 1 is sin(column * 10000^(-1/16)), channel 33 of the row.
  const std::vector<float> positions = position_embedding(config);
  EXPECT_FLOAT_EQ(positions[6 * 64 + 1], static_cast<float>(std::sin(2 * std::pow(10000.0, -1.0 / 16))));
  EXPECT_FLOAT_EQ(positions[6 * 64 + 16], static_cast<float>(std::cos(2.0)));
  EXPECT_FLOAT_EQ(positions[6 * 64 + 33], static_cast<float>(std::sin(1 * std::pow(10000.0, -1.0 / 16))));
  EXPECT_EQ(constants[2].name, "blocks.1.attn.relative_position_index");
  EXPECT_EQ(constants[2].shape, (Shape{16, 16}));
  const std::vector<int64_t> index = relative_position_index(config);
  EXPECT_EQ(index[0 * 16 + 0], 3 * 7 + 3);
  EXPECT_EQ(index[0 * 16 + 15], 0);  // from the top left to the bottom right
  EXPECT_EQ(index[15 * 16 + 0], 6 * 7 + 6);
}

TEST(DdpmSchedule, MatchesThePublishedValues) {
  const DdpmSchedule s = ddpm_schedule(1000, 1e-4, 0.02);
  EXPECT_DOUBLE_EQ(s.alpha_bar[0], 0.9999);
  EXPECT_NEAR(s.alpha_bar[1], 0.99978009, 5e-9);
  EXPECT_NEAR(s.alpha_bar[249], 0.52408537, 5e-9);
  EXPECT_NEAR(s.alpha_bar[500], 0.07779666, 5e-9);
  EXPECT_NEAR(s.alpha_bar[999], 4.03583e-5, 5e-11);
}

TEST(DdpmSchedule, RespacesToTheReleasedSteps) {
  const DdpmSchedule s = respace(ddpm_schedule(1000, 1e-4, 0.02), 250);
  ASSERT_EQ(s.size(), 250);
  EXPECT_EQ(std::accumulate(s.steps.begin(), s.steps.end(), int64_t{0}), 124875);
  EXPECT_EQ(s.steps[1], 4);
  EXPECT_EQ(s.steps[248], 995);
  EXPECT_EQ(s.steps[249], 999);
  EXPECT_NEAR(s.beta[0], 1e-4, 1e-12);
  EXPECT_NEAR(s.beta[1], 5.990656e-4, 5e-10);
  EXPECT_NEAR(s.beta[249], 0.07751934, 5e-9);
}

TEST(DdpmSchedule, RefusesImpossibleCounts) {
  const DdpmSchedule s = ddpm_schedule(1000, 1e-4, 0.02);
  EXPECT_THROW(respace(s, 0), UserError);
  EXPECT_THROW(respace(s, 1001), UserError);
}

TEST(Guidance, PowerCosineMatchesItsTable) {
  const std::map<int, double> table = {{999, 1.00000}, {750, 1.00013}, {600, 1.00549}, {500, 1.03267}, {400, 1.13897},
                                       {300, 1.46112}, {250, 1.77295}, {200, 2.22366}, {150, 2.81744}, {100, 3.50067},
                                       {50, 4.11942},  {20, 4.34969},  {4, 4.39788},   {0, 4.4}};
  for (const auto& [t, s] : table)
    EXPECT_NEAR(guidance_scale(GuidanceSchedule::kPowerCosine, 4.4, 4, t / 1000.0), s, 5e-6) << t;
  EXPECT_EQ(guidance_scale(GuidanceSchedule::kConstant, 1.49, 4, 0.3), 1.49);
}

TEST(EdmSigmas, RunFromMaxToMinThenZero) {
  const std::vector<double> s = edm_sigmas({}, 18);
  ASSERT_EQ(s.size(), 19u);
  EXPECT_NEAR(s[0], 80, 1e-9);
  EXPECT_NEAR(s[17], 0.002, 1e-12);
  EXPECT_EQ(s[18], 0);
  EXPECT_EQ(plan_heun({}, 18).steps.size(), 35u);  // NFE of the paper
  EXPECT_EQ(plan_heun({}, 40).steps.size(), 79u);
}

// Multiply-adds per image of one forward, from the cards' own costs.
struct Macs {
  double linear = 0, attention = 0, time = 0, rest = 0;
};

Macs count(const DiffitConfig& config) {
  Graph graph;
  const Parameters weights(graph, diffit_layout(config), "master");
  const int64_t S = config.input_size;
  const Value x = input(graph, "x", {DType::kF32, {1, S, S, config.in_channels}}, BufferClass::kActivations);
  const Value t = input(graph, "t", {DType::kI64, {1}}, BufferClass::kActivations);
  const Value y = input(graph, "y", {DType::kI64, {1}}, BufferClass::kActivations);
  diffit(weights, config, x, t, y);
  Macs macs;
  for (int n = 0; n < graph.node_count(); ++n) {
    const Node& node = graph.node(n);
    const double m = node.card->cost(types_of(graph, node)).matmul_flops / 2 / 1e9;
    const bool per_image = !node.out.empty() && graph.info(node.out[0]).type.shape.rank() == 2;
    if (node.card == &attention_card)
      macs.attention += m;
    else if (node.label.starts_with("blocks."))
      (per_image ? macs.time : macs.linear) += m;
    else
      macs.rest += m;
  }
  return macs;
}

// The stated figures have four digits.
TEST(DiffitXl, CostsTheStatedMacs) {
  const Macs small = count(xl(32)), large = count(xl(64));
  EXPECT_NEAR(small.linear, 114.15, 0.01);
  EXPECT_NEAR(small.attention, 4.23, 0.005);
  EXPECT_NEAR(small.time, 0.11, 0.005);
  EXPECT_NEAR(small.linear + small.attention + small.time + small.rest, 118.5, 0.05);
  EXPECT_NEAR(large.linear, 456.6, 0.05);
  EXPECT_NEAR(large.attention, 67.6, 0.05);
  EXPECT_NEAR(large.linear + large.attention + large.time + large.rest, 524.4, 0.05);
}

TEST(Diffit, RefusesSizesThatDoNotFit) {
  EXPECT_THROW(check({.input_size = 33}), UserError);
  EXPECT_THROW(check({.hidden_size = 100, .num_heads = 16}), UserError);
  EXPECT_THROW(check({.hidden_size = 30, .num_heads = 3}), UserError);
  EXPECT_NO_THROW(check({}));
}

}  // namespace
}  // namespace shardit
