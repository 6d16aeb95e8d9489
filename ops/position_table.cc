// The fixed 2-D sin-cos table of w x w tokens (N, C): half of the channels encode the column, the other half the row,
// each as [sin(pos f), cos(pos f)], f_k = 10000^(-k / (C/4)), k < C/4 (He et al. 2022). Computed in fp64.
#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(position_table_cuda);

namespace {

struct PositionAttrs : Attrs {
  int64_t window = 0, channels = 0;
  std::string text() const override {
    return std::to_string(window) + " x " + std::to_string(window) + ", " + std::to_string(channels) + " channels";
  }
};

void position_table_cpu(const KernelArgs& k) {
  const auto& a = k.attr<PositionAttrs>();
  visit_real(k.out[0].dtype(), [&]<typename T>(T) {
    k.pool->run(a.window * a.window, [&](int64_t token, int) {
      T* y = k.out[0].as<T>() + token * a.channels;
      for (int64_t c = 0; c < a.channels; ++c)
        y[c] = T(static_cast<Accum<T>>(position_value(token, c, a.window, a.channels)));
    });
  });
}

}  // namespace

double position_value(int64_t token, int64_t channel, int64_t w, int64_t channels) {
  const int64_t half = channels / 2, quarter = channels / 4, i = channel % half;
  const auto place = static_cast<double>(channel < half ? token % w : token / w);
  const double angle = place * std::pow(10000.0, -static_cast<double>(i % quarter) / static_cast<double>(quarter));
  return i < quarter ? std::sin(angle) : std::cos(angle);
}

const OpCard position_table_card = {
    .name = "position_table",
    .shape =
        [](const NodeTypes& n) {
          const auto& a = n.attr<PositionAttrs>();
          REQUIRE(a.window > 0 && a.channels > 0 && a.channels % 4 == 0,
                  "position_table: " + a.text() +
                      ": expected a window of at least 1 and channels that are a multiple of 4");
          return std::vector{n.real_of({a.window * a.window, a.channels})};
        },
    .cost = [](const NodeTypes& n) { return Cost{.bytes = streamed(n)}; },
    .in_roles = {Role::kFixed},
    .out_roles = {Role::kExact},
    .cpu = position_table_cpu,
    .cuda = position_table_cuda,
    .constant = true,
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {2, 9, 12}}},
                          .build = [](auto& v) { return std::vector{add(v[0], position_table(*v[0].graph, 3, 12))}; }}};
        },
};

Value position_table(Graph& graph, int64_t w, int64_t channels) {
  auto attrs = std::make_shared<PositionAttrs>();
  attrs->window = w;
  attrs->channels = channels;
  return graph.add1(position_table_card, {}, attrs);
}

}  // namespace shardit
