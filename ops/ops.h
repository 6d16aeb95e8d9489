// What can be computed. One function per op, called by models and by gradient rules; each stands for a card.
//
// Sizes: B images, N tokens of an image, C channels, H heads, D = C / H. Feature maps are channels-last: tokens (B, N,
// C) and maps (B, height, width, C) are the same bytes. "per image" means one number for each of the B images. Every
// function throws UserError when shapes do not fit, saying given and expected.
#pragma once

#include <string>
#include <vector>

#include "core/layout.h"
#include "core/op_card.h"
#include "core/random.h"
#include "ops/cards.h"

namespace shardit {

// ---- structure ---------------------------------------------------------------------------------------------------

// A unit's flat buffer (elements) seen as its tensors; no bytes move. The gradient is pack().
std::vector<Value> unpack(Value unit, const Unit& layout);
// Tensors (any may be empty: zeros) written straight into a flat buffer; only padding is touched. Gradient of unpack.
Value pack(Graph& graph, const std::vector<Value>& tensors, const Unit& layout);

Value cast(Value x, DType dtype);         // rounds to nearest even
Value copy(Value x);                      // the same bytes elsewhere
Value stop_gradient(Value x);             // x; no gradient flows back
Value reshape(Value x, Shape shape);      // the same bytes under another shape
Value assign(Value target, Value value);  // overwrites target in place (its old value must not be read later)
std::vector<Value> split_last(Value x, const std::vector<int64_t>& sizes);  // along the innermost axis
Value concat_last(const std::vector<Value>& parts);
Value concat_first(Value a, Value b);  // (A, …) and (B, …) to (A + B, …)
Value repeat_first(Value x);           // (B, …) to (2B, …): [x; x]
Value slice_first(Value x, int64_t first,
                  int64_t count);         // rows first … first + count of the outermost axis; no bytes move
std::pair<Value, Value> halves(Value x);  // (2B, …) to two of (B, …)

// A constant vector of the graph's real type. `name` is its identity: equal names must mean equal values.
Value table(Graph& graph, const std::string& name, std::vector<double> values);

// ---- pointwise ---------------------------------------------------------------------------------------------------

Value gelu(Value x);  // tanh form
Value gelu_grad(Value x, Value dy);
Value silu(Value x);  // x * sigmoid(x)
Value silu_grad(Value x, Value dy);
Value add(Value x, Value y);     // same shape, type of x; or y lacks x's first axes and is broadcast over them
Value residual_stream(Value x);  // x in the type of the residual stream (precision.residual), which add() keeps
Value sum_leading(Value x, Shape shape);  // sums x over its leading axes down to `shape`; fixed order

// Per-image factors a, b (B): a * x, and a * x + b * y, in fp32 whatever the types of x and y. Factors get no gradient.
Value scale(Value a, Value x);
Value mix(Value a, Value x, Value b, Value y);
// c[0] x[0] + c[1] x[1] + …: factors fp64, one per term, fp64 inside, the type of x[0]. For samplers; no gradient.
Value combine(Value factors, const std::vector<Value>& x);

// ---- linear algebra ----------------------------------------------------------------------------------------------

// x (…, K) times w (M, K) transposed, plus b (M): the released layout (out, in). The last result is (…, M).
Value linear(Value x, Value w, Value b);
Value linear_dgrad(Value dy, Value w);               // (…, M) x (M, K) -> (…, K)
Value linear_wgrad(Value dy, Value x, Shape shape);  // -> `shape`, of M * K elements

// ---- transformer -------------------------------------------------------------------------------------------------

// (x - mean) * rstd over the innermost axis; no affine part. Results: y, mean, rstd (per row, fp32).
std::vector<Value> layer_norm(Value x, double epsilon);
Value layer_norm_grad(Value dy, Value x, Value mean, Value rstd);

// Time-dependent self-attention (DiffiT eq. 3-7) with a relative position bias, on w x w tokens in row-major order:
//   qkv (B, N, 3C) laid out [3][H][D]; qkv_time (B, 3C), added to every token's; bias ((2w-1)^2, H).
//   out (B, N, C) = softmax((q + q_t) k^T / sqrt(D) + bias) (v + v_t);  lse (B, H, N): log of each row's sum.
// k_t is left out: it shifts all logits of a row alike, so it cannot change the softmax (its gradient is zero).
std::vector<Value> attention(Value qkv, Value qkv_time, Value bias, int heads);
// out and lse: the forward results. Results: d qkv, d qkv_time, d bias.
std::vector<Value> attention_grad(Value dout, Value qkv, Value qkv_time, Value bias, Value out, Value lse, int heads);

// Images (B, S, S, c) <-> tokens (B, (S/p)^2, p*p*c). The order of a token's features:
enum class PatchOrder { kChannelFirst, kChannelLast };  // (c, row, column): conv weights; (row, column, c): final layer
Value patchify(Value image, int64_t patch, PatchOrder order);
Value unpatchify(Value tokens, int64_t patch, int64_t channels, PatchOrder order);

// [cos(t f_i), sin(t f_i)], f_i = 10000^(-i/128), i < 128: t (B), integer or real, -> (B, 256).
Value timestep_embedding(Value t);
// The fixed 2-D sin-cos table of w x w tokens, (N, C): first half of the channels by column, second half by row.
Value position_table(Graph& graph, int64_t w, int64_t channels);
double position_value(int64_t token, int64_t channel, int64_t w, int64_t channels);  // one element of it
// Rows of `table` (rows, C) by index (B).
Value embedding(Value table, Value index);
Value embedding_grad(Value dy, Value index, Shape table_shape);

// ---- fused: made by the fuse pass, never called by models ----------------------------------------------------------

// gelu(z) and z, z = linear(x, w, b).
std::vector<Value> linear_gelu(Value x, Value w, Value b);
Value linear_dgrad_gelu(Value dy, Value w, Value z);  // gelu_grad(z, linear_dgrad(dy, w))
// linear_wgrad(dy, x, shape) and the sum of dy's rows (M): the gradients of a weight and its bias.
std::vector<Value> linear_wgrad_bias(Value dy, Value x, Shape shape);
// s = x + y, y perhaps broadcast, and layer_norm(s): s, normalised, mean, rstd.
std::vector<Value> add_layer_norm(Value x, Value y, double epsilon);
// layer_norm_grad(dy, x, mean, rstd) + g; and that sum again, rounded to `dtype`.
Value layer_norm_grad_add(Value dy, Value x, Value mean, Value rstd, Value g);
std::vector<Value> layer_norm_grad_add_cast(Value dy, Value x, Value mean, Value rstd, Value g, DType dtype);

// ---- keyed draws: `ids` (B) are global sample numbers ------------------------------------------------------------

// [first + i] for i < count, first = counters[0] + counters[1] * count: the step's first sample, the micro-batch in it.
Value sample_ids(Value counters, int64_t count);
// (B, per_image…), real. `lane` (1), int64, tells a sampler's steps apart; empty: lane 0.
Value draw_normal(Value ids, Shape per_image, uint64_t seed, Purpose purpose, Value lane = {});
Value draw_integer(Value ids, int64_t n, uint64_t seed, Purpose purpose);  // (B) int64 in [0, n)
Value drop_labels(Value labels, Value ids, double probability, int64_t null_label, uint64_t seed);
// uint8 to x / 127.5 - 1.
Value image_to_real(Value image);

// ---- diffusion ---------------------------------------------------------------------------------------------------

Value lookup(Value table, Value index);  // table (T), index (B) int64 -> (B)
// EDM's preconditioning (Karras et al. 2022, table 1) from sigma (B): c_skip, c_out, c_in, c_noise, and the loss
// weight.
std::vector<Value> edm_coefficients(Value sigma, double sigma_data);
Value log_normal(Value normal, double mean, double std);  // exp(mean + std * n)

// Per image: the mean over the image of (pred - target)^2 -> (B).
Value mean_squared_error(Value pred, Value target);
Value mean_squared_error_grad(Value dloss, Value pred, Value target);
// The learned-range variational term in bits per dimension -> (B). Its gradient reaches `v` only: `eps` must be stopped
// by the caller. eps, v, x0, xt (B, S, S, c); t (B) int64; schedule (T, kScheduleColumns) in the graph's real type,
// whose row t holds the process at step t, computed in fp64. abar: the product of 1 - beta up to t; before: that up to
// t - 1.
enum ScheduleColumn : int {
  kSqrtRecipAbar,         // sqrt(1 / abar)
  kSqrtRecipm1Abar,       // sqrt(1 / abar - 1)
  kPosteriorMeanX0,       // beta sqrt(before) / (1 - abar): the factor of x0 in the mean of q(x[t-1] | xt, x0)
  kPosteriorMeanXt,       // (1 - before) sqrt(1 - beta) / (1 - abar): the factor of xt
  kPosteriorLogVariance,  // log(beta (1 - before) / (1 - abar)); row 0 repeats row 1's
  kLogBeta,               // log beta
  kScheduleColumns
};
Value variational_bound(Value eps, Value v, Value x0, Value xt, Value t, Value schedule);
Value variational_bound_grad(Value dloss, Value eps, Value v, Value x0, Value xt, Value t, Value schedule);
// sum over the images of weight * losses (B) -> scalar: with weight 1 / global_batch_size the loss of a micro-batch's
// share.
Value weighted_sum(Value losses, double weight);
Value expand_scalar(Value scalar, double weight, int64_t count);

// Classifier-free guidance on the first `channels` of a network output whose batch is [conditional; unconditional]:
// out_u + s (out_c - out_u) there, out_c elsewhere. s: scale per image (B).
Value guide(Value out_both, Value scale, int64_t channels);
// exp(log_variance / 2) * z with log_variance between two bounds by (v + 1) / 2; bounds = (lower, upper, on), fp64.
Value learned_noise(Value v, Value z, Value bounds);

// ---- optimizer ---------------------------------------------------------------------------------------------------

// The sum of squares of a flat buffer of whole chunks, exact in any order: three limbs and a flag, int64 (4). Results
// of parts of a buffer may be added, in any order. The flag counts chunks that are not finite.
Value square_sum(Value flat);
// Limbs (shards, units, 4), flat -> (norm of all, clip factor, finite) and the norms of the units, fp64. The factor is
// min(1, clip / norm), where clip <= 0 means no clipping. A norm is NaN where it is not finite.
std::vector<Value> gradient_norm(Value limbs, int64_t units, double clip);
// The fixed two-level order in which the terms of a step, the gradients of its micro-batches, are summed.
struct FoldOrder {
  int64_t terms = 1;          // of the step
  int64_t group = 8;          // consecutive terms that are summed among themselves first
  int64_t per_round = 1;      // terms that a round brings
  int64_t micro_batches = 1;  // that a round computes, one per rank: counters[1] / micro_batches is the round
  bool one_group() const { return terms <= group; }
};
// One round: `gradient` (per_round * n) joins inner (n) and outer (n), which are updated in place and returned; the
// last one is the sum after the last round. With one_group() outer is empty. `gradient` comes in the type it is rounded
// to, fp32 or a cast to precision.reduce; sums are fp32.
std::vector<Value> fold(Value inner, Value outer, Value gradient, Value counters, const FoldOrder& order);
// Terms (groups * group * n) to the sums of each group (groups * n), fp32: the inner half of the order, for terms of
// whole groups that are at one place.
Value sum_groups(Value terms, int64_t groups, int64_t group);

struct AdamWAttrs : Attrs {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int emas = 0;
  std::string text() const override;
};
// One pass over a unit: master, m, v and every EMA are updated in place; the last result is the weight in `compute`
// type if `compute_copy`. numbers (fp64): lr, 1 - beta1^t, 1 - beta2^t, then one EMA decay each.
// norm: the result of gradient_norm; nothing changes where it is not finite. The results: master, m, v, EMAs, copy.
struct AdamWState {
  Value master, m, v;
  std::vector<Value> ema;
};
std::vector<Value> adamw(const AdamWState& state, Value gradient, Value norm, Value numbers, const AdamWAttrs& attrs,
                         bool compute_copy);

}  // namespace shardit
