// The sizes of DiffiT (model/diffit.h) and its tensors, by name and shape: all that reading a file of them needs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/layout.h"

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

// Tensors of the released files that are not trained: the position table and each block's relative position index.
struct ReleasedConstant {
  std::string name;
  Shape shape;
  DType dtype;  // fp32 or int64
};
std::vector<ReleasedConstant> released_constants(const DiffitConfig& config);

}  // namespace shardit
