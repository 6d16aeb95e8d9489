#include "model/diffit_layout.h"

#include "core/error.h"

namespace shardit {
namespace {

void add_linear(Unit& unit, const std::string& name, int64_t out, int64_t in) {
  unit.add(name + ".weight", {out, in}, {.kind = Init::kXavierUniform, .fan_in = in, .fan_out = out});
  unit.add(name + ".bias", {out}, {});
}

Unit embedders(const DiffitConfig& c) {
  const Init normal{.kind = Init::kNormal, .std = 0.02};
  const int64_t patch_elements = c.in_channels * c.patch_size * c.patch_size;
  Unit unit{.name = "embedders"};
  unit.add("x_embedder.proj.weight", {c.hidden_size, c.in_channels, c.patch_size, c.patch_size},
           {.kind = Init::kXavierUniform, .fan_in = patch_elements, .fan_out = c.hidden_size});
  unit.add("x_embedder.proj.bias", {c.hidden_size}, {});
  unit.add("t_embedder.mlp.0.weight", {c.hidden_size, 256}, normal);
  unit.add("t_embedder.mlp.0.bias", {c.hidden_size}, {});
  unit.add("t_embedder.mlp.2.weight", {c.hidden_size, c.hidden_size}, normal);
  unit.add("t_embedder.mlp.2.bias", {c.hidden_size}, {});
  unit.add("y_embedder.embedding_table.weight", {c.num_classes + 1, c.hidden_size}, normal);
  return unit;
}

Unit block_unit(const DiffitConfig& c, const std::string& name) {
  const int64_t span = 2 * c.grid() - 1, C = c.hidden_size;
  Unit unit{.name = name};
  unit.add(name + ".attn.relative_position_bias_table", {span * span, c.num_heads},
           {.kind = Init::kTruncatedNormal, .std = 0.02});
  add_linear(unit, name + ".attn.qkv_temb", 3 * C, C);
  add_linear(unit, name + ".attn.qkv", 3 * C, C);
  add_linear(unit, name + ".attn.proj", C, C);
  add_linear(unit, name + ".mlp.fc1", c.mlp_size(), C);
  add_linear(unit, name + ".mlp.fc2", C, c.mlp_size());
  return unit;
}

Unit final_unit(const DiffitConfig& c) {
  Unit unit{.name = "final_layer"};
  const int64_t features = c.patch_size * c.patch_size * c.out_channels();
  unit.add("final_layer.linear.weight", {features, c.hidden_size}, {});
  unit.add("final_layer.linear.bias", {features}, {});
  return unit;
}

std::string number(int64_t n) { return std::to_string(n); }

}  // namespace

void check(const DiffitConfig& c) {
  REQUIRE(c.input_size > 0 && c.patch_size > 0 && c.hidden_size > 0 && c.depth > 0 && c.num_heads > 0 &&
              c.in_channels > 0 && c.num_classes > 0,
          "model: sizes must be positive");
  REQUIRE(c.input_size % c.patch_size == 0, "model.input_size is " + number(c.input_size) +
                                                ", not a multiple of model.patch_size " + number(c.patch_size));
  REQUIRE(c.hidden_size % c.num_heads == 0, "model.hidden_size is " + number(c.hidden_size) +
                                                ", not a multiple of model.num_heads " + number(c.num_heads));
  REQUIRE(c.hidden_size % 4 == 0,
          "model.hidden_size is " + number(c.hidden_size) + ": the position table needs a multiple of 4");
  REQUIRE(c.mlp_size() > 0, "model.mlp_ratio gives an empty MLP");
}

Layout diffit_layout(const DiffitConfig& config) {
  Layout layout;
  layout.units.push_back(embedders(config));
  for (int64_t i = 0; i < config.depth; ++i) layout.units.push_back(block_unit(config, "blocks." + number(i)));
  layout.units.push_back(final_unit(config));
  return layout;
}

std::vector<ReleasedConstant> released_constants(const DiffitConfig& config) {
  const int64_t N = config.tokens();
  std::vector<ReleasedConstant> result = {{"pos_embed", {1, N, config.hidden_size}, DType::kF32}};
  for (int64_t b = 0; b < config.depth; ++b)
    result.push_back({"blocks." + number(b) + ".attn.relative_position_index", {N, N}, DType::kI64});
  return result;
}

}  // namespace shardit
