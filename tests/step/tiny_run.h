// A training program small enough to run hundreds of times, with every pass and every card that training uses: two
// DiffiT blocks on 8 x 8 pixels, four micro-batches folded in two groups, two EMAs.
#pragma once

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/passes.h"
#include "core/program.h"
#include "core/random.h"
#include "launcher/config.h"
#include "launcher/graphs.h"
#include "launcher/run_program.h"
#include "launcher/run_setup.h"
#include "launcher/state.h"
#include "ops/cast.h"
#include "ops/fuse.h"

namespace shardit::test {

inline RunConfig tiny_config(const std::vector<std::string>& sets = {}) {
  return parse_config(
      "seed: 3  steps: 6  global_batch_size: 8  micro_batch_size: 2\n"
      "model { input_size: 8  in_channels: 1  patch_size: 2  hidden_size: 32  depth: 2  num_heads: 2  num_classes: 3 "
      "}\n"
      "data { kind: synthetic  images: 40 }  parallel { fold_group: 2 }  sample { sampler: ddpm steps: 4 }\n"
      "optimizer { lr: 1e-2  grad_clip: 0.5  warmup_images: 24 }\n"
      "ema { name: \"slow\"  decay: 0.9 }  ema { name: \"fast\"  decay: 0.5 }\n"
      "checkpoint { every_steps: 0 async: false }",
      "tiny", sets);
}

const std::vector<std::string> kEdmInBf16 = {"diffusion.process=edm", "model.learn_sigma=false",
                                             "precision.compute=bf16", "sample.sampler=heun"};
const std::vector<std::string> kDdpmInBf16 = {"precision.compute=bf16", "precision.reduce=bf16"};

// The passes of launcher/graphs.h, any of which may be left out.
struct Lowering {
  Recompute recompute = Recompute::kNone;
  bool fused = true, hoisted = true;
  bool apart = false;  // no two values share bytes
};

// Gives every value that needs bytes of its own a named buffer of its own. Windows of other values stay windows.
inline void keep_apart(Graph& graph, const std::string& prefix) {
  std::vector<bool> window(graph.value_count(), false);
  for (int n = 0; n < graph.node_count(); ++n) {
    const Node& node = graph.node(n);
    if (!node.card->alias) continue;
    for (const Alias& a : node.card->alias(types_of(graph, node))) {
      if (a.kind == Alias::kPlace) window[node.in[a.in]] = true;
      if (a.kind == Alias::kView || a.kind == Alias::kUpdate) window[node.out[a.out]] = true;
    }
  }
  for (int v = 0; v < graph.value_count(); ++v)
    if (!window[v] && graph.info(v).buffer.empty()) graph.info(v).buffer = prefix + std::to_string(v);
}

inline std::vector<NamedGraph> tiny_graphs(const RunSetup& setup, const Lowering& lowering) {
  Graph constants;
  const auto lowered = [&](const Graph& graph) {
    Graph g = recompute(apply_precision(prune(graph), setup.precision), lowering.recompute);
    if (lowering.fused) g = fuse(g);
    return lowering.hoisted ? prune(hoist_constants(g, constants)) : g;
  };
  const Graph micro_step = lowered(build_micro_step(setup, keyed_loss_inputs, nullptr));
  std::vector<NamedGraph> graphs = {{"micro_step", shard_micro_step(micro_step, setup, Round::kLast)},
                                    {"update", lowered(build_update(setup))}};
  if (!setup.travels_in_fp32()) graphs.push_back({"refresh", build_refresh(setup)});
  graphs.push_back({"constants", constants});
  if (lowering.apart)
    for (NamedGraph& g : graphs) keep_apart(g.graph, "apart." + g.name + ".");
  return graphs;
}

class TinyRun {
 public:
  explicit TinyRun(const RunConfig& config, const Lowering& lowering = {}, int threads = 1,
                   Pool::Deal deal = Pool::Deal::kFirstCome)
      : TinyRun(config, compile(tiny_graphs(make_setup(config), lowering), threads), threads, deal) {}
  TinyRun(const RunConfig& config, CompiledProgram compiled, int threads = 1, Pool::Deal deal = Pool::Deal::kFirstCome)
      : config_(config),
        setup_(make_setup(config)),
        pool_(threads, deal),
        program_(std::move(compiled), *device_, pool_) {
    program_.run("constants");
    initialize_state(program_, setup_);
    wake_final_layer();
    refresh_weights(program_);
    for (int64_t s = 0; s < config.steps(); ++s) numbers_.push_back(step_numbers(config, s));
  }

  Program& program() { return program_; }
  const RunSetup& setup() const { return setup_; }

  // What the step loop does between reading data and writing logs. Allocates nothing of its own.
  void step() {
    for (int64_t round = 0; round < setup_.rounds(); ++round) {
      micro_step(round);
      float loss;
      program_.download("step.loss", &loss, sizeof loss);
      loss_ += loss;
    }
    const std::vector<double>& numbers = numbers_[step_];
    program_.upload("step.numbers", numbers.data(), static_cast<int64_t>(numbers.size() * sizeof(double)));
    poison();
    program_.run("update");
    ++step_;
  }

  void micro_step(int64_t round) { micro_step_as(round, round); }

  // Runs round `round` on the batch and the sample numbers of round `as` of the step.
  void micro_step_as(int64_t round, int64_t as) {
    const int slot = static_cast<int>(round % 2);
    fill_batch(as, slot);
    const int64_t counters[2] = {step_ * setup_.global_batch + (as - round) * setup_.micro_batch, round};
    program_.upload("step.counters", counters, sizeof counters, slot);
    poison();
    program_.run("micro_step", slot);
  }

  float loss() const { return loss_; }  // summed over all micro-batches so far

  // The bytes of everything that a step leaves behind.
  std::map<std::string, std::vector<std::byte>> state() {
    std::map<std::string, std::vector<std::byte>> result;
    for (const auto& [name, buffer] : program_.memory().buffers)
      if (name.starts_with("grad.") || name.starts_with("master.") || name.starts_with("adam.") ||
          name.starts_with("ema.") || name.starts_with("param.") || name == "step.loss" || name == "step.norm") {
        result[name].resize(static_cast<size_t>(buffer.bytes));
        program_.download(name, result[name].data(), buffer.bytes);
      }
    return result;
  }

 private:
  void fill_batch(int64_t round, int slot) {
    const Philox philox(99, Purpose::kSynthetic);
    auto* pixels = static_cast<uint8_t*>(program_.host_pointer("batch.pixels", slot));
    auto* labels = static_cast<int64_t*>(program_.host_pointer("batch.labels", slot));
    const int64_t batch = setup_.micro_batch, first = step_ * setup_.global_batch + round * batch;
    const int64_t image = setup_.model.input_size * setup_.model.input_size * setup_.model.in_channels;
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t i = 0; i < image; ++i)
        pixels[b * image + i] = static_cast<uint8_t>(bits_at(philox, first + b, i) >> 24);
      labels[b] = (first + b) % setup_.model.num_classes;
    }
  }

  // The last layer starts at zero, and then no gradient reaches the others: here it starts at normals.
  void wake_final_layer() {
    const Unit& unit = setup_.layout.units.back();
    auto* master = static_cast<float*>(program_.host_pointer(unit_buffer("master", unit)));
    for (const Param& p : unit.params)
      for (int64_t i = 0; i < p.numel(); ++i)
        master[p.offset() + i] = 0.2f * normal_at(Philox(7, Purpose::kSynthetic), hash_name(p.name), i);
    copy_weights_to_emas(program_, setup_);
  }

  // No bit of one graph's transient values is there for the next graph to read.
  void poison() {
    const auto& [name, buffer] = *program_.memory().buffers.begin();
    auto* arena = static_cast<std::byte*>(program_.host_pointer(name)) - buffer.offset;
    const MemoryPlan& plan = program_.memory();
    std::memset(arena + plan.transient_offset, 0xff, static_cast<size_t>(plan.transient_bytes + plan.workspace_bytes));
  }

  RunConfig config_;
  RunSetup setup_;
  std::unique_ptr<Device> device_ = make_cpu_device();
  Pool pool_;
  Program program_;
  std::vector<std::vector<double>> numbers_;
  int64_t step_ = 0;
  float loss_ = 0;
};

using State = std::map<std::string, std::vector<std::byte>>;

// The state after two steps: both rounds of the fold, both slots, and moments that are not zero.
inline State after_two_steps(TinyRun&& run) {
  run.step();
  run.step();
  return run.state();
}

inline void expect_same_bits(const State& a, const State& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (const auto& [name, bytes] : a) EXPECT_TRUE(bytes == b.at(name)) << what << ": " << name << " differs";
}

}  // namespace shardit::test
