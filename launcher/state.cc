#include "launcher/state.h"

#include <cmath>
#include <cstring>

#include "core/pool.h"
#include "core/random.h"
#include "model/parameters.h"

namespace shardit {
namespace {

void draw_in_pieces(const ParamPart& part, uint64_t seed, float* out, Pool& pool) {
  constexpr int64_t kElements = 1 << 16;
  pool.run(tile_count(part.count, kElements), [&](int64_t n, int) {
    const Tile tile = tile_at(part.count, kElements, n);
    ParamPart piece = part;
    piece.first += tile.begin;
    piece.count = tile.end - tile.begin;
    draw_initial(piece, seed, out + tile.begin);
  });
}

}  // namespace

std::vector<StateKind> state_kinds(const RunSetup& setup) {
  std::vector<StateKind> kinds = {{"params", "master"}, {"adam.m", "adam.m"}, {"adam.v", "adam.v"}};
  for (const std::string& ema : setup.ema_names) kinds.push_back({"ema." + ema, "ema." + ema});
  return kinds;
}

void push_state(Program& program, const RunSetup& setup, const StateKind& kind) {
  for (const Unit& unit : setup.layout.units) program.push(unit_buffer(kind.source, unit));
}

void push_state(Program& program, const RunSetup& setup) {
  for (const StateKind& kind : state_kinds(setup)) push_state(program, setup, kind);
}

void pull_state(Program& program, const RunSetup& setup, const StateKind& kind) {
  for (const Unit& unit : setup.layout.units) program.pull(unit_buffer(kind.source, unit));
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

namespace {

template <typename PartsOf>
std::vector<TensorPart> parts_of_all(Program& program, const RunSetup& setup, const std::string& prefix,
                                     PartsOf&& parts_of) {
  std::vector<TensorPart> all;
  for (const StateKind& kind : state_kinds(setup))
    for (const Unit& unit : setup.layout.units) {
      auto* memory = static_cast<float*>(program.host_pointer(prefix + unit_buffer(kind.source, unit)));
      const std::vector<TensorPart> parts = parts_of(kind.name, unit, memory);
      all.insert(all.end(), parts.begin(), parts.end());
    }
  return all;
}

}  // namespace

std::vector<TensorPart> parts_held(Program& program, const RunSetup& setup) {
  const Sharding& s = setup.sharding;
  return parts_of_all(program, setup, "", [&](const std::string& kind, const Unit& unit, float* memory) {
    return shard_parts(kind, unit, s.state_shard(), s.state_shards(), memory);
  });
}

std::vector<TensorPart> parts_to_save(Program& program, const RunSetup& setup, bool from_snapshot) {
  const Sharding& s = setup.sharding;
  if (!from_snapshot)
    for (const StateKind& kind : state_kinds(setup)) pull_state(program, setup, kind);
  return parts_of_all(program, setup, from_snapshot ? "snapshot." : "",
                      [&](const std::string& kind, const Unit& unit, float* memory) {
                        const bool whole = !from_snapshot && s.state_shards() < s.shards();
                        const int64_t first = whole ? s.mesh.shard.rank * unit.shard_elements(s.shards()) : 0;
                        return shard_parts(kind, unit, s.mesh.shard.rank, s.shards(), memory + first);
                      });
}

void draw_initial(const ParamPart& part, uint64_t seed, float* out) {
  const Philox philox(seed, Purpose::kInitialWeights);
  const uint64_t item = hash_name(part.param->name);
  const Init& init = part.param->init;
  const auto fill = [&](auto&& value) {
    for (int64_t i = 0; i < part.count; ++i) out[i] = static_cast<float>(value(static_cast<uint64_t>(part.first + i)));
  };
  switch (init.kind) {
    case Init::kZero:
      return fill([](uint64_t) { return 0; });
    case Init::kNormal:
      return fill([&](uint64_t i) { return init.std * static_cast<double>(normal_at(philox, item, i)); });
    case Init::kTruncatedNormal: {
      // N(0, std^2) cut at +-2, by the inverse CDF: a uniform between the CDF's values at the two cuts.
      const double tail = 0.5 * std::erfc(2 / (init.std * std::sqrt(2.0)));
      return fill([&](uint64_t i) {
        const double uniform = static_cast<double>(uniform_at(philox, item, i));
        return init.std * static_cast<double>(normal_quantile(tail + uniform * (1 - 2 * tail)));
      });
    }
    case Init::kXavierUniform: {
      const double bound = std::sqrt(6.0 / static_cast<double>(init.fan_in + init.fan_out));
      return fill([&](uint64_t i) { return bound * (2 * static_cast<double>(uniform_at(philox, item, i)) - 1); });
    }
  }
}

ReleasedValues::ReleasedValues(const DiffitConfig& model)
    : positions(position_embedding(model)),
      index(relative_position_index(model)) {
  for (const ReleasedConstant& c : released_constants(model)) {
    const void* data = c.dtype == DType::kI64 ? static_cast<const void*>(index.data()) : positions.data();
    constants.push_back({c.name, c.dtype, c.shape, data});
  }
}

void initialize_state(Program& program, const RunSetup& setup) {
  for (const Unit& unit : setup.layout.units) {
    auto* master = static_cast<float*>(program.host_pointer(unit_buffer("master", unit)));
    for (const ParamPart& part : parts_in_shard(unit, setup.sharding.state_shard(), setup.sharding.state_shards()))
      draw_in_pieces(part, setup.seed, master + part.offset, program.pool());
    program.push(unit_buffer("master", unit));
  }
  copy_weights_to_emas(program, setup);
}

void copy_weights_to_emas(Program& program, const RunSetup& setup) {
  for (const Unit& unit : setup.layout.units)
    for (const std::string& ema : setup.ema_names) {
      std::memcpy(program.host_pointer(unit_buffer("ema." + ema, unit)),
                  program.host_pointer(unit_buffer("master", unit)),
                  static_cast<size_t>(setup.state_type(unit).bytes()));
      program.push(unit_buffer("ema." + ema, unit));
    }
}

}  // namespace shardit
