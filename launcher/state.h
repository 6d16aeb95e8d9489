// The state of a run inside a program's buffers: initial values, and the logical tensors that checkpoints hold.
#pragma once

#include <string>
#include <vector>

#include "checkpoints/release.h"
#include "checkpoints/save.h"
#include "core/program.h"
#include "launcher/graphs.h"
#include "model/diffit.h"

namespace shardit {

// The buffers of one kind of state: "params" -> "master", "adam.m" -> "adam.m", "ema.NAME" -> "ema.NAME".
struct StateKind {
  std::string name;    // in checkpoints: "params/…", "adam.m/…", "adam.v/…", "ema.NAME/…"
  std::string source;  // buffers "<source>.<unit>"
};
std::vector<StateKind> state_kinds(const RunSetup& setup);

// All of these point to the buffers as the host sees them (Program::host_pointer). Where those are copies, `push`
// brings what was written there to the device, `pull` what the device made to the host.
void push_state(Program& program, const RunSetup& setup, const StateKind& kind);
void push_state(Program& program, const RunSetup& setup);  // all kinds
void pull_state(Program& program, const RunSetup& setup, const StateKind& kind);

// Every logical tensor of one kind. REQUIRES: one rank.
std::vector<StateTensor> tensors_of(Program& program, const RunSetup& setup, const StateKind& kind);

// What this rank holds of the state: all of it at stage 0, else its shard. A load fills it; then it is to be pushed.
std::vector<TensorPart> parts_held(Program& program, const RunSetup& setup);
// What this rank writes of it: its shard at every stage, from the copies that the graph "snapshot" made, or pulled now.
std::vector<TensorPart> parts_to_save(Program& program, const RunSetup& setup, bool from_snapshot);

// Fresh master weights, drawn by (seed, tensor name, element); every EMA starts as a copy of them.
void initialize_state(Program& program, const RunSetup& setup);

// Every EMA becomes a copy of the master weights.
void copy_weights_to_emas(Program& program, const RunSetup& setup);

// The released constants as export and import take them.
struct ReleasedValues {
  explicit ReleasedValues(const DiffitConfig& model);
  ReleasedValues(const ReleasedValues&) = delete;

  const std::vector<float> positions;
  const std::vector<int64_t> index;
  std::vector<Constant> constants;  // point to these
};

// The initial values of a part of a tensor.
void draw_initial(const ParamPart& part, uint64_t seed, float* out);

}  // namespace shardit
