// DiffiT, the latent model as released (Hatamizadeh et al., "DiffiT: Diffusion Vision Transformers for Image
// Generation", ECCV 2024, section 3.2 and the released weights' tensor names): a plain transformer on patches whose
// self-attention depends on time (TMSA), with a relative position bias and no adaptive normalisation.
//
// Sizes: B images, S input_size, w = S / patch_size, N = w * w tokens, C hidden_size, H heads.
#pragma once

#include <cstdint>
#include <vector>

#include "core/graph.h"
#include "model/diffit_layout.h"
#include "model/parameters.h"

namespace shardit {

// The network: x (B, S, S, in_channels), t (B) step or noise level as the process defines it, y (B) labels; the result
// is (B, S, S, out_channels).
Value diffit(const Parameters& w, const DiffitConfig& config, Value x, Value t, Value y);

// Values of the released constants: of the position table (1, N, C), and of every block's index (N, N).
std::vector<float> position_embedding(const DiffitConfig& config);
std::vector<int64_t> relative_position_index(const DiffitConfig& config);

}  // namespace shardit
