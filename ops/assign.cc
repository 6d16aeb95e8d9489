// The in-place write of a persistent buffer: how a sampling step moves its state on.
#include <cstring>

#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(assign_cuda);

namespace {

void assign_cpu(const KernelArgs& k) {
  visit_real(k.in[1].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    const X* x = k.in[1].as<X>();
    Y* y = k.out[0].as<Y>();
    const int64_t n = k.out[0].numel();
    k.pool->run(tile_count(n, kPointwiseTile), [&](int64_t t, int) {
      const Tile tile = tile_at(n, kPointwiseTile, t);
      for (int64_t i = tile.begin; i < tile.end; ++i) y[i] = Y(x[i]);
    });
  });
}

}  // namespace

const OpCard assign_card = {
    .name = "assign",
    .shape =
        [](const NodeTypes& n) {
          REQUIRE(n.in[0] == n.in[1], "assigns " + n.in[1].str() + " to " + n.in[0].str() + ": expected the same type");
          return std::vector{n.in[0]};
        },
    .cost = [](const NodeTypes& n) { return Cost{.bytes = 2.0 * static_cast<double>(n.out[0].bytes())}; },
    .in_roles = {Role::kFixed},
    .out_roles = {Role::kFixed},
    .cpu = assign_cpu,
    .cuda = assign_cuda,
    .alias =
        [](const NodeTypes&) {
          return std::vector{Alias{Alias::kUpdate, 0, 0}};
        },
    .samples =
        [] {
          return Samples{{.in = {{DType::kF32, {5, 7}}, {DType::kF32, {5, 7}}},
                          .build = [](const std::vector<Value>& v) { return std::vector{assign(copy(v[0]), v[1])}; }}};
        },
};

Value assign(Value target, Value value) { return target.graph->add1(assign_card, {target, value}); }

}  // namespace shardit
