// The variational term of DDPM with learned variances (Nichol & Dhariwal 2021), in bits per dimension, per image. With
// row t of the schedule and f = (v + 1) / 2:
//   log_var = lower + f (upper - lower),  lower = clipped posterior log variance, upper = log beta
//   pred_x0 = sqrt(1/abar) xt - sqrt(1/abar - 1) eps                                                    (not clipped)
//   t > 0:  KL( N(mean(x0, xt), e^lower) || N(mean(pred_x0, xt), e^log_var) )
//         = 1/2 (-1 + (log_var - lower) + e^(lower - log_var) + (mean - pred mean)^2 e^-log_var)
//   t = 0:  -log P(x0), the probability that N(mean(pred_x0, xt), e^log_var) gives the bin x0 +- 1/255, open to the
//           outside at |x0| > 0.999; its CDF in tanh form, probabilities clamped at 1e-12
// Both are divided by log 2 and averaged over the image. mean(x0, xt) = coef0 x0 + coef_t xt, so that xt cancels in the
// difference of means. t = 0 is computed in the type of the graph, step by step as the formula reads: in fp32 the CDF
// near 1 has steps of 6e-8, so beyond 5 deviations a probability is 0 and clamped. The reference trains with that, and
// a single such element moves loss and gradient by more than all other rounding.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"
#include "ops/math.h"
#include "ops/ops.h"

namespace shardit::variational_bound_terms {

template <typename T> struct Constants {
  T recip, recipm1, coef0, coef_t, lower, range;  // range = upper - lower

  template <typename S>
  SHARDIT_HOST_DEVICE explicit Constants(const S* row)
      : recip(static_cast<T>(row[kSqrtRecipAbar])),
        recipm1(static_cast<T>(row[kSqrtRecipm1Abar])),
        coef0(static_cast<T>(row[kPosteriorMeanX0])),
        coef_t(static_cast<T>(row[kPosteriorMeanXt])),
        lower(static_cast<T>(row[kPosteriorLogVariance])),
        range(static_cast<T>(row[kLogBeta]) - static_cast<T>(row[kPosteriorLogVariance])) {}
};

// One element's loss in nats and its derivative by v.
template <typename T> struct Term { T loss, slope; };

// Inlined, so that the loop over it is vectorised and what it does not use falls away.
template <typename T>
[[gnu::always_inline]] SHARDIT_HOST_DEVICE Term<T> divergence(const Constants<T>& c, T eps, T v, T x0, T xt) {
  const T excess = T(0.5) * (v + T(1)) * c.range;  // log_var - lower
  const T gap = c.coef0 * (x0 - (c.recip * xt - c.recipm1 * eps));
  const T misfit = gap * gap * exp_of(-(c.lower + excess)), ratio = exp_of(-excess);
  return {T(0.5) * ((excess + misfit) + (ratio - T(1))), T(0.25) * c.range * ((T(1) - ratio) - misfit)};
}

template <typename T> struct Cdf { T value, slope; };

// tanh in fp32 with the bits of PyTorch on the CPU (the Sleef library): the rounded true value, and 1 from 8.66 on,
// where that would still be one step below.
SHARDIT_HOST_DEVICE float tail_tanh(float x) {
  return fabsf(x) > 8.664339742f ? copysignf(1.0f, x) : static_cast<float>(tanh(static_cast<double>(x)));
}
SHARDIT_HOST_DEVICE double tail_tanh(double x) { return tanh(x); }

// exp and log of the likelihood. The GPU's in fp32 are off by up to two units in the last place, the host library's by
// hardly more than half of one; rounded fp64 comes to the host's bits but for rare ties.
#if defined(__CUDACC__)
SHARDIT_HOST_DEVICE float likelihood_exp(float x) { return static_cast<float>(exp(static_cast<double>(x))); }
SHARDIT_HOST_DEVICE float likelihood_log(float x) { return static_cast<float>(log(static_cast<double>(x))); }
#else
template <typename T> T likelihood_exp(T x) { return std::exp(x); }
template <typename T> T likelihood_log(T x) { return std::log(x); }
#endif

// The normal CDF in tanh form: 1/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))).
template <typename T> SHARDIT_HOST_DEVICE Cdf<T> cdf_of(T z) {
  const T k = T(0.7978845608028654), u = k * (z + T(0.044715) * (z * z * z));
  const T t = tail_tanh(u);
  return {T(0.5) * (T(1) + t), T(0.5) * (T(1) - t * t) * k * (T(1) + T(3 * 0.044715) * (z * z))};
}

// -log max(p, 1e-12), and its derivative, given that of p.
template <typename T> SHARDIT_HOST_DEVICE Term<T> surprise(T p, T dp) {
  constexpr T kFloor = T(1e-12);
  return p < kFloor ? Term<T>{-likelihood_log(kFloor), 0} : Term<T>{-likelihood_log(p), -dp / p};
}

template <typename T> SHARDIT_HOST_DEVICE Term<T> likelihood(const Constants<T>& c, T eps, T v, T x0, T xt) {
  const T log_var = c.lower + T(0.5) * (v + T(1)) * c.range, inverse_std = likelihood_exp(T(-0.5) * log_var);
  const T centered = x0 - (c.coef0 * (c.recip * xt - c.recipm1 * eps) + c.coef_t * xt);
  const T zp = inverse_std * (centered + T(1.0 / 255)), zm = inverse_std * (centered - T(1.0 / 255));
  const Cdf<T> above = cdf_of(zp), below = cdf_of(zm);
  const T by_v = T(-0.25) * c.range;  // d log z / d v
  const T above_dv = above.slope * zp * by_v, below_dv = below.slope * zm * by_v;
  if (x0 < T(-0.999)) return surprise(above.value, above_dv);
  if (x0 > T(0.999)) return surprise(T(1) - below.value, -below_dv);
  return surprise(above.value - below.value, above_dv - below_dv);
}

// Of the sum over an image's elements, in nats, to bits per dimension.
inline double per_bit(int64_t elements) { return 1 / (0.6931471805599453 * static_cast<double>(elements)); }

}  // namespace shardit::variational_bound_terms
