// The few numbers per image that a noise level stands for. Computed in fp64 and rounded once; no gradients, since noise
// levels are drawn.
#include "ops/noise_level.h"

#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"
#include "ops/text.h"

namespace shardit {

DEVICE_KERNEL(lookup_cuda);
DEVICE_KERNEL(edm_coefficients_cuda);
DEVICE_KERNEL(log_normal_cuda);

namespace {

std::shared_ptr<NumbersAttrs> numbers_of(double a, double b) {
  auto attrs = std::make_shared<NumbersAttrs>();
  attrs->a = a;
  attrs->b = b;
  return attrs;
}

void lookup_cpu(const KernelArgs& k) {
  const int64_t rows = k.in[0].numel();
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&](auto tx, auto ty) {
    using X = decltype(tx);
    using Y = decltype(ty);
    for (int64_t i = 0; i < k.out[0].numel(); ++i) {
      const int64_t row = k.in[1].as<int64_t>()[i];
      CHECK(row >= 0 && row < rows) << "lookup: index " << row << " in a table of " << rows;
      k.out[0].as<Y>()[i] = Y(static_cast<Accum<X>>(k.in[0].as<X>()[row]));
    }
  });
}

void edm_cpu(const KernelArgs& k) {
  const double d = k.attr<NumbersAttrs>().a;
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&](auto tx, auto ty) {
    using X = decltype(tx);
    using Y = decltype(ty);
    for (int64_t i = 0; i < k.in[0].numel(); ++i) {
      const double s = static_cast<Accum<X>>(k.in[0].as<X>()[i]), total = s * s + d * d;
      const double c[] = {d * d / total, s * d / std::sqrt(total), 1 / std::sqrt(total), std::log(s) / 4,
                          total / (s * d * s * d)};
      for (int j = 0; j < 5; ++j) k.out[j].as<Y>()[i] = Y(static_cast<Accum<Y>>(c[j]));
    }
  });
}

void log_normal_cpu(const KernelArgs& k) {
  const double mean = k.attr<NumbersAttrs>().a, deviation = k.attr<NumbersAttrs>().b;
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&](auto tx, auto ty) {
    using X = decltype(tx);
    using Y = decltype(ty);
    for (int64_t i = 0; i < k.in[0].numel(); ++i)
      k.out[0].as<Y>()[i] =
          Y(static_cast<Accum<Y>>(std::exp(mean + deviation * static_cast<Accum<X>>(k.in[0].as<X>()[i]))));
  });
}

std::vector<Type> lookup_shape(const NodeTypes& n) {
  REQUIRE(n.in[0].shape.rank() == 1, "the table is " + n.in[0].shape.str() + ", expected one axis");
  REQUIRE(n.in[1].dtype == DType::kI64, "the index is " + n.in[1].str() + ", expected int64");
  return {n.real_of(n.in[1].shape)};
}

}  // namespace

const OpCard lookup_card = {
    .name = "lookup",
    .shape = lookup_shape,
    .cost = [](const NodeTypes& n) { return Cost{.bytes = streamed(n) - static_cast<double>(n.in[0].bytes())}; },
    .in_roles = {Role::kExact, Role::kFixed},
    .out_roles = {Role::kExact},
    .cpu = lookup_cpu,
    .cuda = lookup_cuda,
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {3}}, {DType::kI64, {7}}},
                          .build = [](auto& v) { return std::vector{lookup(v[0], v[1])}; }}};
        },
};

const OpCard edm_coefficients_card = {
    .name = "edm_coefficients",
    .shape = [](const NodeTypes& n) { return std::vector<Type>(5, n.real_of(n.in[0].shape)); },
    .cost = pointwise_cost<30>,
    .in_roles = {Role::kExact},
    .out_roles = {Role::kExact},
    .cpu = edm_cpu,
    .cuda = edm_coefficients_cuda,
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {7}}},
                          .build = [](auto& v) { return edm_coefficients(v[0], 0.5); },
                          .positive = {0}}};
        },
};

const OpCard log_normal_card = {
    .name = "log_normal",
    .shape = [](const NodeTypes& n) { return std::vector{n.real_of(n.in[0].shape)}; },
    .cost = pointwise_cost<10>,
    .in_roles = {Role::kExact},
    .out_roles = {Role::kExact},
    .cpu = log_normal_cpu,
    .cuda = log_normal_cuda,
    .samples =
        [] {
          return Samples{
              {.in = {{DType::kF32, {7}}}, .build = [](auto& v) { return std::vector{log_normal(v[0], -1.2, 1.2)}; }}};
        },
};

Value lookup(Value table, Value index) { return table.graph->add1(lookup_card, {table, index}); }

std::vector<Value> edm_coefficients(Value sigma, double sigma_data) {
  REQUIRE(sigma_data > 0, "edm_coefficients: sigma_data is " + std::to_string(sigma_data) + ", it must be positive");
  return sigma.graph->add(edm_coefficients_card, {sigma}, numbers_of(sigma_data, 0));
}

Value log_normal(Value normal, double mean, double std) {
  return normal.graph->add1(log_normal_card, {normal}, numbers_of(mean, std));
}

}  // namespace shardit
