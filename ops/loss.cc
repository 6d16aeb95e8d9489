// mean_squared_error: per image, the mean over the image of (pred - target)^2; and the weighted sum over images.
//   d loss / d pred = 2 (pred - target) / n,  d loss / d target = the same with the sides exchanged
// Terms and sums are fp64, in the order of image_sums.
#include "ops/loss.h"

#include "ops/images.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(mean_squared_error_cuda);
DEVICE_KERNEL(mean_squared_error_grad_cuda);
DEVICE_KERNEL(weighted_sum_cuda);
DEVICE_KERNEL(expand_scalar_cuda);

namespace {

std::shared_ptr<WeightAttrs> weight_of(double weight, int64_t count) {
  auto attrs = std::make_shared<WeightAttrs>();
  attrs->weight = weight;
  attrs->count = count;
  return attrs;
}

void mean_squared_error_cpu(const KernelArgs& k) {
  const Shape& shape = k.in[0].shape();
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&](auto tp, auto tt, auto ty) {
    using P = decltype(tp);
    using T = decltype(tt);
    using Y = decltype(ty);
    const P* pred = k.in[0].as<P>();
    const T* target = k.in[1].as<T>();
    const auto terms = [&](int64_t, int64_t begin, int64_t end, double* term) {
      for (int64_t i = begin; i < end; ++i) {
        const double d = static_cast<double>(static_cast<Accum<P>>(pred[i])) - static_cast<Accum<T>>(target[i]);
        term[i - begin] = d * d;
      }
    };
    image_sums(k, shape, terms, [&](int64_t image, double sum) {
      k.out[0].as<Y>()[image] = Y(static_cast<Accum<Y>>(sum / static_cast<double>(per_image(shape))));
    });
  });
}

void mean_squared_error_grad_cpu(const KernelArgs& k) {
  const Shape& shape = k.in[0].shape();
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&](auto tp, auto tt, auto ty) {
    using P = decltype(tp);
    using T = decltype(tt);
    using Y = decltype(ty);
    using A = Accum<Y>;
    CHECK(k.in[2].dtype() == DTypeOf<A>::value) << "mean_squared_error_grad: the loss's gradient is exact";
    for_image_tiles(*k.pool, shape[0], per_image(shape), [&](int64_t image, int64_t begin, int64_t end) {
      const A factor = k.in[2].as<A>()[image] * A(2) / A(per_image(shape));
      for (int64_t i = begin; i < end; ++i)
        k.out[0].as<Y>()[i] = Y(factor * (static_cast<A>(k.in[0].as<P>()[i]) - static_cast<A>(k.in[1].as<T>()[i])));
    });
  });
}

void weighted_sum_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&](auto tx, auto ty) {
    using X = decltype(tx);
    using Y = decltype(ty);
    double sum = 0;
    for (int64_t i = 0; i < k.in[0].numel(); ++i) sum += static_cast<Accum<X>>(k.in[0].as<X>()[i]);
    k.out[0].as<Y>()[0] = Y(static_cast<Accum<Y>>(k.attr<WeightAttrs>().weight * sum));
  });
}

void expand_scalar_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&](auto tx, auto ty) {
    using X = decltype(tx);
    using Y = decltype(ty);
    const double y = k.attr<WeightAttrs>().weight * static_cast<Accum<X>>(k.in[0].as<X>()[0]);
    std::fill_n(k.out[0].as<Y>(), k.out[0].numel(), Y(static_cast<Accum<Y>>(y)));
  });
}

void require_same(const NodeTypes& n) {
  REQUIRE(n.in[0].shape == n.in[1].shape && n.in[0].shape.rank() >= 1,
          "the prediction is " + n.in[0].shape.str() + ", the target " + n.in[1].shape.str() +
              ": they must have one shape, the batch first");
}

}  // namespace

const OpCard mean_squared_error_card = {
    .name = "mean_squared_error",
    .shape =
        [](const NodeTypes& n) {
          require_same(n);
          return std::vector{n.real_of({n.in[0].shape[0]})};
        },
    .grad =
        [](const GradArgs& g) {
          return std::vector{mean_squared_error_grad(g.dout[0], g.in[0], g.in[1]),
                             mean_squared_error_grad(g.dout[0], g.in[1], g.in[0])};
        },
    .cost =
        [](const NodeTypes& n) {
          return Cost{.flops = 3.0 * static_cast<double>(n.in[0].shape.numel()), .bytes = streamed(n)};
        },
    .in_roles = {Role::kAny},
    .out_roles = {Role::kExact},
    .cpu = mean_squared_error_cpu,
    .cuda = mean_squared_error_cuda,
    .workspace = [](const NodeTypes& n, int) { return image_sums_workspace(n.in[0].shape); },
    .cuda_workspace = [](const NodeTypes& n) { return image_sums_workspace(n.in[0].shape); },
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {3, 40, 31}}, {DType::kF32, {3, 40, 31}}},
                          .build = [](auto& v) { return std::vector{mean_squared_error(v[0], v[1])}; }}};
        },
};

const OpCard mean_squared_error_grad_card = {
    .name = "mean_squared_error_grad",
    .shape =
        [](const NodeTypes& n) {
          require_same(n);
          return std::vector{n.real_of(n.in[0].shape)};
        },
    .cost = pointwise_cost<2>,
    .in_roles = {Role::kAny, Role::kAny, Role::kExact},
    .out_roles = {Role::kExact},
    .cpu = mean_squared_error_grad_cpu,
    .cuda = mean_squared_error_grad_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kReuse, 0, 0}, Alias{Alias::kReuse, 1, 0}};
        },
};

const OpCard weighted_sum_card = {
    .name = "weighted_sum",
    .shape =
        [](const NodeTypes& n) {
          REQUIRE(n.in[0].shape.rank() == 1, "sums losses (B), " + n.in[0].shape.str() + " is given");
          return std::vector{n.real_of({})};
        },
    .grad =
        [](const GradArgs& g) {
          return std::vector{expand_scalar(g.dout[0], g.attr<WeightAttrs>().weight, g.in[0].shape()[0])};
        },
    .cost =
        [](const NodeTypes& n) {
          return Cost{.flops = static_cast<double>(n.in[0].shape.numel()), .bytes = streamed(n)};
        },
    .in_roles = {Role::kExact},
    .out_roles = {Role::kExact},
    .cpu = weighted_sum_cpu,
    .cuda = weighted_sum_cuda,
    .samples =
        [] {
          return Samples{
              {.in = {{DType::kF32, {9}}}, .build = [](auto& v) { return std::vector{weighted_sum(v[0], 0.125)}; }}};
        },
};

const OpCard expand_scalar_card = {
    .name = "expand_scalar",
    .shape =
        [](const NodeTypes& n) {
          REQUIRE(n.in[0].shape.numel() == 1, "repeats a scalar, " + n.in[0].shape.str() + " is given");
          return std::vector{n.real_of({n.attr<WeightAttrs>().count})};
        },
    .cost = pointwise_cost<0>,
    .in_roles = {Role::kExact},
    .out_roles = {Role::kExact},
    .cpu = expand_scalar_cpu,
    .cuda = expand_scalar_cuda,
};

Value mean_squared_error(Value pred, Value target) { return pred.graph->add1(mean_squared_error_card, {pred, target}); }

Value mean_squared_error_grad(Value dloss, Value pred, Value target) {
  return pred.graph->add1(mean_squared_error_grad_card, {pred, target, dloss});
}

Value weighted_sum(Value losses, double weight) {
  return losses.graph->add1(weighted_sum_card, {losses}, weight_of(weight, 0));
}

Value expand_scalar(Value scalar, double weight, int64_t count) {
  return scalar.graph->add1(expand_scalar_card, {scalar}, weight_of(weight, count));
}

}  // namespace shardit
