// The list of ops, of fused ones those that hold more before those that hold less. A new op adds its card here, its
// function to ops.h, and one file.
#pragma once

#include <vector>

#include "core/op_card.h"

// clang-format off
#define SHARDIT_CARDS(X)                                                                                            \
  X(copy_card) X(reshape_card) X(stop_gradient_card) X(assign_card) X(slice_first_card) X(table_card)               \
  X(unpack_card) X(pack_card) X(split_last_card) X(concat_last_card) X(split_first_card) X(concat_first_card)       \
  X(cast_card) X(residual_stream_card) X(add_card) X(sum_leading_card) X(gelu_card) X(gelu_grad_card)               \
  X(silu_card) X(silu_grad_card) X(scale_card) X(mix_card) X(combine_card) X(linear_card) X(linear_dgrad_card)      \
  X(linear_wgrad_card) X(linear_gelu_card) X(linear_dgrad_gelu_card) X(linear_wgrad_bias_card)                      \
  X(layer_norm_card) X(layer_norm_grad_card) X(add_layer_norm_card) X(layer_norm_grad_add_cast_card)                \
  X(layer_norm_grad_add_card)                                                                                       \
  X(attention_card) X(attention_grad_card) X(patchify_card) X(unpatchify_card) X(timestep_embedding_card)           \
  X(position_table_card) X(embedding_card) X(embedding_grad_card) X(sample_ids_card) X(draw_normal_card)            \
  X(draw_integer_card) X(drop_labels_card) X(image_to_real_card) X(lookup_card) X(edm_coefficients_card)            \
  X(log_normal_card) X(mean_squared_error_card) X(mean_squared_error_grad_card) X(variational_bound_card)           \
  X(variational_bound_grad_card) X(weighted_sum_card) X(expand_scalar_card) X(guide_card) X(learned_noise_card)     \
  X(square_sum_card) X(gradient_norm_card) X(fold_card) X(sum_groups_card) X(adamw_card) X(adamw_copy_card)
// clang-format on

namespace shardit {

#define SHARDIT_DECLARE_CARD(card) extern const OpCard card;
SHARDIT_CARDS(SHARDIT_DECLARE_CARD)
#undef SHARDIT_DECLARE_CARD

const std::vector<const OpCard*>& all_cards();  // what the sweep tests

}  // namespace shardit
