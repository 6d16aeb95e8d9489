// The list of ops: a new op adds its card here, its function to ops.h, and one file.
#pragma once

#include <vector>

#include "core/op_card.h"

#define SHARDIT_CARDS(X)                                                        \
  X(copy_card) X(reshape_card) X(stop_gradient_card) X(table_card) X(cast_card) \
  X(gelu_card) X(gelu_grad_card)                                                \
  X(add_card) X(sum_leading_card)                                               \
  X(linear_card) X(linear_dgrad_card) X(linear_wgrad_card)                      \
  X(layer_norm_card) X(layer_norm_grad_card)                                    \
  X(attention_card) X(attention_grad_card)                                      \
  X(linear_gelu_card) X(linear_dgrad_gelu_card)                                 \
  X(silu_card) X(silu_grad_card) X(patchify_card) X(unpatchify_card)            \
  X(timestep_embedding_card) X(position_table_card)                             \
  X(embedding_card) X(embedding_grad_card)

namespace shardit {

#define SHARDIT_DECLARE_CARD(card) extern const OpCard card;
SHARDIT_CARDS(SHARDIT_DECLARE_CARD)
#undef SHARDIT_DECLARE_CARD

const std::vector<const OpCard*>& all_cards();  // what the sweep tests

}  // namespace shardit
