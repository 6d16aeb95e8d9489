// DiffiT, the latent model as released (Hatamizadeh et al., "DiffiT: Diffusion Vision Transformers for Image
// Generation", ECCV 2024, section 3.2 and the released weights' tensor names): a plain transformer on patches whose
// self-attention depends on time (TMSA), with a relative position bias and no adaptive normalisation.
//
// Sizes: B images, S input_size, w = S / patch_size, N = w * w tokens, C hidden_size, H heads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/graph.h"
#include "core/layout.h"
#include "model/parameters.h"

namespace shardit {

struct DiffitConfig {
  int64_t input_size = 32;  // pixels or latent cells per side
  int64_t in_channels = 4;
  int64_t patch_size = 2;
  int64_t hidden_size = 1152;
  int64_t depth = 28;  // blocks; the paper's text says 30, the released weights have 28
  int64_t num_heads = 16;
  double mlp_ratio = 4;
  int64_t num_classes = 1000;  // label num_classes stands for "no label"
  bool learn_sigma = true;     // two outputs per channel: the prediction and the variance logits

  int64_t grid() const { return input_size / patch_size; }
  int64_t tokens() const { return grid() * grid(); }
  int64_t mlp_size() const { return static_cast<int64_t>(static_cast<double>(hidden_size) * mlp_ratio); }
  int64_t out_channels() const { return learn_sigma ? 2 * in_channels : in_channels; }
};

// Throws UserError where sizes do not fit together, naming the config key.
void check(const DiffitConfig& config);

// All trainable tensors under their released names with shapes and initial distributions: one unit for the embedders,
// one per block, one for the final layer.
Layout diffit_layout(const DiffitConfig& config);

// The network: x (B, S, S, in_channels), t (B) step or noise level as the process defines it, y (B) labels; the result
// is (B, S, S, out_channels).
Value diffit(const Parameters& w, const DiffitConfig& config, Value x, Value t, Value y);

// Tensors of the released files that are not trained: the position table and each block's relative position index.
struct ReleasedConstant {
  std::string name;
  Shape shape;
  DType dtype;                 // fp32 or int64
  std::vector<float> real;     // filled for fp32
  std::vector<int64_t> index;  // filled for int64
};
std::vector<ReleasedConstant> released_constants(const DiffitConfig& config);

}  // namespace shardit
