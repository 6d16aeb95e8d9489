// The variational term of DDPM on the CPU; formulas in variational_bound.h.
#include "ops/variational_bound.h"

#include "ops/images.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(variational_bound_cuda);
DEVICE_KERNEL(variational_bound_grad_cuda);

namespace {

using namespace variational_bound_terms;

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

void variational_bound_cpu(const KernelArgs& k) {
  visit_real(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&](auto te, auto tv, auto ty) {
    using Y = decltype(ty);
    const Operands<decltype(te), decltype(tv)> in(k.in);
    const auto terms = [&](int64_t image, int64_t begin, int64_t end, double* term) {
      in.terms(image, begin, end, [&](int64_t i, const auto& e) { term[i - begin] = e.loss; });
    };
    image_sums(k, k.in[0].shape(), terms, [&](int64_t image, double sum) {
      k.out[0].as<Y>()[image] = Y(static_cast<Accum<Y>>(sum * per_bit(per_image(k.in[0].shape()))));
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
      const A factor = k.in[6].as<A>()[image] * static_cast<A>(per_bit(per_image(shape)));
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
    .cuda = variational_bound_cuda,
    .workspace = [](const NodeTypes& n, int) { return image_sums_workspace(n.in[0].shape); },
    .cuda_workspace = [](const NodeTypes& n) { return image_sums_workspace(n.in[0].shape); },
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
    .cuda = variational_bound_grad_cuda,
};

Value variational_bound(Value eps, Value v, Value x0, Value xt, Value t, Value schedule) {
  return eps.graph->add1(variational_bound_card, {eps, v, x0, xt, t, schedule});
}

Value variational_bound_grad(Value dloss, Value eps, Value v, Value x0, Value xt, Value t, Value schedule) {
  return eps.graph->add1(variational_bound_grad_card, {eps, v, x0, xt, t, schedule, dloss});
}

}  // namespace shardit
