#include "model/diffit.h"

#include <cmath>

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

}  // namespace

Value diffit(const Parameters& w, const DiffitConfig& config, Value x, Value t, Value y) {
  Graph& graph = *x.graph;
  Value tokens, c;
  {
    const auto scope = graph.unit_scope("embedders");
    tokens = patch_embedding(w, config, x);
    c = condition(w, t, y);
  }
  for (int64_t i = 0; i < config.depth; ++i)
    tokens = block(w, "blocks." + std::to_string(i), tokens, c, static_cast<int>(config.num_heads));
  return final_layer(w, config, tokens);
}

std::vector<float> position_embedding(const DiffitConfig& config) {
  const int64_t C = config.hidden_size;
  std::vector<float> values;
  for (int64_t token = 0; token < config.tokens(); ++token)
    for (int64_t c = 0; c < C; ++c) values.push_back(static_cast<float>(position_value(token, c, config.grid(), C)));
  return values;
}

std::vector<int64_t> relative_position_index(const DiffitConfig& config) {
  const int64_t w = config.grid(), N = config.tokens();
  std::vector<int64_t> index;
  for (int64_t i = 0; i < N; ++i)
    for (int64_t j = 0; j < N; ++j) index.push_back((i / w - j / w + w - 1) * (2 * w - 1) + (i % w - j % w + w - 1));
  return index;
}

}  // namespace shardit
