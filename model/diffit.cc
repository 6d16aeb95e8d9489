#include "model/diffit.h"

#include <cmath>

#include "core/error.h"
#include "ops/ops.h"

namespace shardit {
namespace {

Value project(const Parameters& w, const std::string& name, Value x) {
  const auto scope = x.graph->scope(name.substr(name.rfind('.') + 1));  // "qkv" of "blocks.7.attn.qkv"
  return linear(x, w(name + ".weight"), w(name + ".bias"));
}

// Time-dependent multi-head self-attention: q, k, v = x W + c W_t (eq. 3-5), softmax(q k^T / sqrt(d) + bias) v (eq. 6).
Value tmsa(const Parameters& w, const std::string& name, Value x, Value c, int heads) {
  const auto scope = x.graph->scope("attn");
  const Value qkv = project(w, name + ".qkv", x);
  const Value qkv_time = project(w, name + ".qkv_temb", c);
  const Value heads_out = attention(qkv, qkv_time, w(name + ".relative_position_bias_table"), heads)[0];
  return project(w, name + ".proj", heads_out);
}

Value mlp(const Parameters& w, const std::string& name, Value x) {
  const auto scope = x.graph->scope("mlp");
  const Value hidden = gelu(project(w, name + ".fc1", x));
  return project(w, name + ".fc2", hidden);
}

Value norm(Value x) { return layer_norm(x, 1e-6)[0]; }

// x^ = TMSA(LN(x), c) + x;  x = MLP(LN(x^)) + x^  (eq. 7-8)
Value block(const Parameters& w, const std::string& name, Value x, Value c, int heads) {
  const auto scope = x.graph->unit_scope(name);
  x = add(x, tmsa(w, name + ".attn", norm(x), c, heads));
  return add(x, mlp(w, name + ".mlp", norm(x)));
}

Value patch_embedding(const Parameters& w, const DiffitConfig& config, Value x) {
  const auto scope = x.graph->scope("x_embedder");
  const Value tokens = project(w, "x_embedder.proj", patchify(x, config.patch_size, PatchOrder::kChannelFirst));
  return add(residual_stream(tokens), position_table(*x.graph, config.grid(), config.hidden_size));
}

// c = TimestepEmbedder(t) + LabelEmbedder(y): one vector per image, the same for every block.
Value condition(const Parameters& w, Value t, Value y) {
  const auto scope = t.graph->scope("t_embedder");
  const Value hidden = silu(project(w, "t_embedder.mlp.0", timestep_embedding(t)));
  const Value time = project(w, "t_embedder.mlp.2", hidden);
  return add(time, embedding(w("y_embedder.embedding_table.weight"), y));
}

Value final_layer(const Parameters& w, const DiffitConfig& config, Value x) {
  const auto scope = x.graph->unit_scope("final_layer");
  const Value out = project(w, "final_layer.linear", silu(norm(x)));
  return unpatchify(out, config.patch_size, config.out_channels(), PatchOrder::kChannelLast);
}

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

Value diffit(const Parameters& w, const DiffitConfig& config, Value x, Value t, Value y) {
  Graph& graph = *x.graph;
  Value tokens, c;
  {
    const auto scope = graph.unit_scope("embedders");
    tokens = patch_embedding(w, config, x);
    c = condition(w, t, y);
  }
  for (int64_t i = 0; i < config.depth; ++i)
    tokens = block(w, "blocks." + number(i), tokens, c, static_cast<int>(config.num_heads));
  return final_layer(w, config, tokens);
}

std::vector<ReleasedConstant> released_constants(const DiffitConfig& config) {
  const int64_t w = config.grid(), N = config.tokens(), C = config.hidden_size;
  ReleasedConstant table{.name = "pos_embed", .shape = {1, N, C}, .dtype = DType::kF32};
  for (int64_t token = 0; token < N; ++token)
    for (int64_t c = 0; c < C; ++c) table.real.push_back(static_cast<float>(position_value(token, c, w, C)));
  ReleasedConstant index{.shape = {N, N}, .dtype = DType::kI64};
  for (int64_t i = 0; i < N; ++i)
    for (int64_t j = 0; j < N; ++j)
      index.index.push_back((i / w - j / w + w - 1) * (2 * w - 1) + (i % w - j % w + w - 1));
  std::vector<ReleasedConstant> result = {std::move(table)};
  for (int64_t b = 0; b < config.depth; ++b) {
    index.name = "blocks." + number(b) + ".attn.relative_position_index";
    result.push_back(index);
  }
  return result;
}

}  // namespace shardit
