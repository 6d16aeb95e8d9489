#include "launcher/state.h"

#include <cmath>
#include <cstring>

#include "core/random.h"
#include "model/parameters.h"

namespace shardit {
namespace {

// N(0, std^2) cut at +-2, by the inverse CDF: for std far below 2 the cut hardly ever matters, and rejecting by
// re-drawing under the next lane keeps the draw a function of its key.
float truncated_normal(const Philox& philox, uint64_t item, int64_t element, double std) {
  for (uint32_t lane = 0;; ++lane) {
    const double x = std * static_cast<double>(normal_at(philox, item, static_cast<uint64_t>(element), lane));
    if (std::fabs(x) <= 2) return static_cast<float>(x);
  }
}

}  // namespace

std::vector<StateKind> state_kinds(const RunSetup& setup) {
  std::vector<StateKind> kinds = {{"params", "master"}, {"adam.m", "adam.m"}, {"adam.v", "adam.v"}};
  for (const std::string& ema : setup.ema_names) kinds.push_back({"ema." + ema, "ema." + ema});
  return kinds;
}

std::vector<StateTensor> tensors_of(Program& program, const RunSetup& setup, const StateKind& kind) {
  std::vector<StateTensor> tensors;
  for (const Unit& unit : setup.layout.units) {
    auto* flat = static_cast<float*>(program.host_pointer(unit_buffer(kind.source, unit)));
    for (const Param& param : unit.params)
      tensors.push_back({kind.name + "/" + param.name, DType::kF32, param.shape, flat + param.offset()});
  }
  return tensors;
}

std::vector<StateTensor> all_tensors(Program& program, const RunSetup& setup) {
  std::vector<StateTensor> tensors;
  for (const StateKind& kind : state_kinds(setup))
    for (StateTensor& tensor : tensors_of(program, setup, kind)) tensors.push_back(std::move(tensor));
  return tensors;
}

void draw_initial(const Param& param, uint64_t seed, float* out) {
  const Philox philox(seed, Purpose::kInitialWeights);
  const uint64_t item = hash_name(param.name);
  const Init& init = param.init;
  const double bound = init.kind == Init::kXavierUniform ? std::sqrt(6.0 / static_cast<double>(init.fan_in + init.fan_out)) : 0;
  for (int64_t i = 0; i < param.numel(); ++i) switch (init.kind) {
      case Init::kZero: out[i] = 0; break;
      case Init::kNormal: out[i] = static_cast<float>(init.std * static_cast<double>(normal_at(philox, item, static_cast<uint64_t>(i)))); break;
      case Init::kTruncatedNormal: out[i] = truncated_normal(philox, item, i, init.std); break;
      case Init::kXavierUniform: out[i] = static_cast<float>(bound * (2 * static_cast<double>(uniform_at(philox, item, static_cast<uint64_t>(i))) - 1)); break;
    }
}

void initialize_state(Program& program, const RunSetup& setup) {
  for (const Unit& unit : setup.layout.units) {
    auto* master = static_cast<float*>(program.host_pointer(unit_buffer("master", unit)));
    for (const Param& param : unit.params) draw_initial(param, setup.seed, master + param.offset());
    for (const std::string& ema : setup.ema_names)
      std::memcpy(program.host_pointer(unit_buffer("ema." + ema, unit)), master, static_cast<size_t>(unit.elements()) * sizeof(float));
  }
}

}  // namespace shardit
