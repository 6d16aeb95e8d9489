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
#include <numbers>

#include "ops/images.h"
#include "ops/math.h"
#include "ops/ops.h"

namespace shardit {
namespace {

template <typename T> struct Constants {
  T recip, recipm1, coef0, coef_t, lower, range;  // range = upper - lower

  template <typename S>
  explicit Constants(const S* row)
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
template <typename T> [[gnu::always_inline]] inline Term<T> divergence(const Constants<T>& c, T eps, T v, T x0, T xt) {
  const T excess = T(0.5) * (v + T(1)) * c.range;  // log_var - lower
  const T gap = c.coef0 * (x0 - (c.recip * xt - c.recipm1 * eps));
  const T misfit = gap * gap * exp_of(-(c.lower + excess)), ratio = exp_of(-excess);
  return {T(0.5) * ((excess + misfit) + (ratio - T(1))), T(0.25) * c.range * ((T(1) - ratio) - misfit)};
}

template <typename T> struct Cdf { T value, slope; };

// tanh in fp32 with the bits of PyTorch on the CPU (the Sleef library): the rounded true value, and 1 from 8.66 on,
// where that would still be one step below.
float tail_tanh(float x) {
  return std::fabs(x) > 8.664339742f ? std::copysign(1.0f, x) : static_cast<float>(std::tanh(static_cast<double>(x)));
}
double tail_tanh(double x) { return std::tanh(x); }

// The normal CDF in tanh form: 1/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))).
template <typename T> Cdf<T> cdf_of(T z) {
  const T k = static_cast<T>(std::sqrt(2 / std::numbers::pi)), u = k * (z + T(0.044715) * (z * z * z));
  const T t = tail_tanh(u);
  return {T(0.5) * (T(1) + t), T(0.5) * (T(1) - t * t) * k * (T(1) + T(3 * 0.044715) * (z * z))};
}

// -log max(p, 1e-12), and its derivative, given that of p.
template <typename T> Term<T> surprise(T p, T dp) {
  constexpr T kFloor = T(1e-12);
  return p < kFloor ? Term<T>{-std::log(kFloor), 0} : Term<T>{-std::log(p), -dp / p};
}

template <typename T> Term<T> likelihood(const Constants<T>& c, T eps, T v, T x0, T xt) {
  const T log_var = c.lower + T(0.5) * (v + T(1)) * c.range, inverse_std = std::exp(T(-0.5) * log_var);
  const T centered = x0 - (c.coef0 * (c.recip * xt - c.recipm1 * eps) + c.coef_t * xt);
  const T zp = inverse_std * (centered + T(1.0 / 255)), zm = inverse_std * (centered - T(1.0 / 255));
  const Cdf<T> above = cdf_of(zp), below = cdf_of(zm);
  const T by_v = T(-0.25) * c.range;  // d log z / d v
  const T above_dv = above.slope * zp * by_v, below_dv = below.slope * zm * by_v;
  if (x0 < T(-0.999)) return surprise(above.value, above_dv);
  if (x0 > T(0.999)) return surprise(T(1) - below.value, -below_dv);
  return surprise(above.value - below.value, above_dv - below_dv);
}

template <typename E, typename V> struct Operands {
  using T = Accum<E>;
  const E* eps;
  const V* v;
  const T *x0, *xt;
  const int64_t* t;
  const T* schedule;
  int64_t rows;

  explicit Operands(std::span<const TensorRef> in)
      : eps(in[0].as<E>()),
        v(in[1].as<V>()),
        x0(in[2].as<T>()),
        xt(in[3].as<T>()),
        t(in[4].as<int64_t>()),
        schedule(in[5].as<T>()),
        rows(in[5].shape()[0]) {
    for (int i : {2, 3, 5})
      CHECK(in[i].dtype() == DTypeOf<T>::value) << "variational_bound: input " << i << " is exact";
  }

  // put(i, term) for the elements of a piece of an image.
  template <typename Put> void terms(int64_t image, int64_t begin, int64_t end, Put&& put) const {
    CHECK(t[image] >= 0 && t[image] < rows) << "variational_bound: step " << t[image] << " of a schedule of " << rows;
    const T* row = schedule + t[image] * kScheduleColumns;
    const Constants<T> c(row);
    if (t[image] == 0) {
      for (int64_t i = begin; i < end; ++i)
        put(i, likelihood<T>(c, static_cast<T>(eps[i]), static_cast<T>(v[i]), x0[i], xt[i]));
    } else {
      for (int64_t i = begin; i < end; ++i)
        put(i, divergence<T>(c, static_cast<T>(eps[i]), static_cast<T>(v[i]), x0[i], xt[i]));
    }
  }
};

double per_bit(const Shape& x) { return 1 / (std::numbers::ln2 * static_cast<double>(per_image(x))); }

void variational_bound_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&](auto te, auto tv, auto ty) {
    using Y = decltype(ty);
    const Operands<decltype(te), decltype(tv)> in(k.in);
    const auto terms = [&](int64_t image, int64_t begin, int64_t end, double* term) {
      in.terms(image, begin, end, [&](int64_t i, const auto& e) { term[i - begin] = e.loss; });
    };
    image_sums(k, k.in[0].shape(), terms, [&](int64_t image, double sum) {
      k.out[0].as<Y>()[image] = Y(static_cast<Accum<Y>>(sum * per_bit(k.in[0].shape())));
    });
  });
}

void variational_bound_grad_cpu(const KernelArgs& k) {
  const Shape& shape = k.in[0].shape();
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&](auto te, auto tv, auto ty) {
    using Y = decltype(ty);
    using A = Accum<Y>;
    const Operands<decltype(te), decltype(tv)> in(k.in);
    CHECK(k.in[6].dtype() == DTypeOf<A>::value) << "variational_bound_grad: the loss's gradient is exact";
    for_image_tiles(*k.pool, shape[0], per_image(shape), [&](int64_t image, int64_t begin, int64_t end) {
      const A factor = k.in[6].as<A>()[image] * static_cast<A>(per_bit(shape));
      Y* dv = k.out[0].as<Y>();
      in.terms(image, begin, end, [&](int64_t i, const auto& e) { dv[i] = Y(factor * static_cast<A>(e.slope)); });
    });
  });
}

void require_images(const NodeTypes& n) {
  for (int i = 1; i < 4; ++i)
    REQUIRE(n.in[i].shape == n.in[0].shape,
            "eps, v, x0 and xt must have one shape: " + n.in[0].shape.str() + " and " + n.in[i].shape.str());
  REQUIRE(n.in[4].dtype == DType::kI64, "time steps are given as " + n.in[4].str() + ", expected int64");
  require_per_image(n.in[4].shape, n.in[0].shape);
  REQUIRE(n.in[5].shape.rank() == 2 && n.in[5].shape[1] == kScheduleColumns,
          "the schedule is " + n.in[5].shape.str() + ", expected (T, " + std::to_string(kScheduleColumns) + ")");
}

template <int kFlops> Cost image_cost(const NodeTypes& n) {
  return {.flops = kFlops * static_cast<double>(n.in[0].shape.numel()),
          .bytes = streamed(n) - static_cast<double>(n.in[5].bytes())};
}

// At t = 0, with xt = x0, the mean lies within a fraction of a deviation, where no probability comes near the steps of
// fp32's CDF.
Value sample_schedule(Graph& graph) {
  const std::vector<double> rows = {1,   0.02, 1,    0,   -5,  -4,  1.05, 0.32, 0.6,
                                    0.4, -1.2, -0.7, 1.3, 0.8, 0.3, 0.7,  -1.0, -0.9};
  return reshape(table(graph, "sample_schedule", rows), {3, kScheduleColumns});
}

}  // namespace

const OpCard variational_bound_card = {
    .name = "variational_bound",
    .shape =
        [](const NodeTypes& n) {
          require_images(n);
          return std::vector{n.real_of({n.in[0].shape[0]})};
        },
    .grad =
        [](const GradArgs& g) {
          std::vector<Value> din(6);
          din[1] = variational_bound_grad(g.dout[0], g.in[0], g.in[1], g.in[2], g.in[3], g.in[4], g.in[5]);
          return din;
        },
    .cost = image_cost<50>,
    .in_roles = {Role::kAny, Role::kAny, Role::kExact, Role::kExact, Role::kFixed, Role::kExact},
    .out_roles = {Role::kExact},
    .cpu = variational_bound_cpu,
    .workspace = [](const NodeTypes& n, int) { return image_sums_workspace(n.in[0].shape); },
    .samples =
        [] {
          const Type image = {DType::kF32, {4, 6, 6, 3}};
          return Samples{{.in = {image, image, image, {DType::kI64, {4}}},
                          .build =
                              [](auto& v) {
                                return std::vector{
                                    variational_bound(v[0], v[1], v[2], v[2], v[3], sample_schedule(*v[0].graph))};
                              },
                          .no_gradient = {0, 2}}};
        },
};

const OpCard variational_bound_grad_card = {
    .name = "variational_bound_grad",
    .shape =
        [](const NodeTypes& n) {
          require_images(n);
          return std::vector{n.real_of(n.in[0].shape)};
        },
    .cost = image_cost<50>,
    .in_roles = {Role::kAny, Role::kAny, Role::kExact, Role::kExact, Role::kFixed, Role::kExact, Role::kExact},
    .out_roles = {Role::kExact},
    .cpu = variational_bound_grad_cpu,
};

Value variational_bound(Value eps, Value v, Value x0, Value xt, Value t, Value schedule) {
  return eps.graph->add1(variational_bound_card, {eps, v, x0, xt, t, schedule});
}

Value variational_bound_grad(Value dloss, Value eps, Value v, Value x0, Value xt, Value t, Value schedule) {
  return eps.graph->add1(variational_bound_grad_card, {eps, v, x0, xt, t, schedule, dloss});
}

}  // namespace shardit
