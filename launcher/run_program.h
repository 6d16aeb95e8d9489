// The program of a run: all its graphs compiled over one arena, before anything is allocated.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/program.h"
#include "launcher/graphs.h"
#include "launcher/run_setup.h"

namespace shardit {

struct RunProgramOptions {
  bool training = true;                     // micro_step, update and gather
  bool resume_proof = false;                // the loss that a checkpoint's weights are known by
  bool snapshot = false;                    // the copy of the state that an asynchronous save writes out
  std::optional<int64_t> validation_batch;  // the validation graph
  std::optional<SamplingSetup> sampling;    // the sampler's stages
  SamplingPlan sampling_plan;
  LossInputsOf loss_inputs = keyed_loss_inputs;
};

// Compiles the graphs "constants", "refresh" (where weights travel in another type), "micro_step", "micro_step.last"
// (where a step's last round differs), "update", "gather" (at stages 1 and 2), "resume_proof", "snapshot", "validation"
// and "sample.<stage>".
CompiledProgram compile_run(const RunSetup& setup, const RunProgramOptions& options, const Target& target);

// The graphs of a training step by name, in the order in which it runs them: one for each round, then the update.
std::vector<std::string> graphs_of_step(const RunSetup& setup);

// What a rank sends to others in a training step, by the cards' own costs.
double wire_bytes_per_step(const CompiledProgram& program, const RunSetup& setup);

// After the masters were set or loaded: makes what the other graphs read of them.
void refresh_weights(Program& program);

// What a training run of this config compiles: with validation and sampling where they are on. Where the state has
// copies on the host, a save needs no other.
RunProgramOptions run_program_options(const RunConfig& config, const RunSetup& setup, const Target& target = {});

// A program of state buffers alone, for tools that only move weights.
CompiledProgram compile_state(const RunSetup& setup);

std::string stage_graph(SamplerStage stage);  // "sample.move", …

// The graph of a stage of compilation, as text; UserError naming the stages if there is none of that name.
std::string dump_graph(const RunSetup& setup, const std::string& stage, const Target& target);

// Matrix-product flops of one forward of one image, from the cards' own costs.
double forward_matmul_flops(const RunSetup& setup);

}  // namespace shardit
