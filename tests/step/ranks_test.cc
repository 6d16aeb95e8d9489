// Steps on many ranks are the steps of one, bit by bit: ranks as threads of this process, at every stage.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "core/device.h"
#include "core/windows.h"
#include "dist/thread_world.h"
#include "launcher/config.h"
#include "launcher/ranks.h"
#include "launcher/run_data.h"
#include "launcher/run_device.h"
#include "launcher/run_program.h"
#include "launcher/sampling.h"
#include "launcher/state.h"
#include "launcher/step_runner.h"
#include "launcher/validation.h"
#include "model/diffit.h"
#include "tests/core/queue_device.h"

namespace shardit {
namespace {

// Twelve micro-batches in fold groups of 5, 5 and 2; sizes that nothing divides; clipping, two EMAs, label drop.
RunConfig config_of(const std::vector<std::string>& sets) {
  return parse_config(
      "seed: 3  steps: 3  global_batch_size: 24  micro_batch_size: 2\n"
      "model { input_size: 6  in_channels: 3  patch_size: 2  hidden_size: 20  depth: 3  num_heads: 5  mlp_ratio: 3.55\n"
      "        num_classes: 7  label_dropout: 0.2 }\n"
      "diffusion { timesteps: 100 }  data { kind: synthetic  images: 101  flip: true }\n"
      "optimizer { lr: 2e-3  weight_decay: 0.01  grad_clip: 0.2 }\n"
      "ema { name: \"slow\"  half_life_images: 300 }  ema { name: \"fast\"  decay: 0.9 }\n"
      "parallel { fold_group: 5 }  sample { sampler: ddim  steps: 3 }  checkpoint { async: false }",
      "test", sets);
}

// All that steps leave behind, put together from the ranks' shards: tensors by name, losses and norms by step.
struct Outcome {
  std::map<std::string, std::vector<float>> tensors;
  std::vector<double> losses, norms;
};

void collect(Program& program, const RunSetup& setup, Outcome& outcome) {
  for (const StateKind& kind : state_kinds(setup)) {
    pull_state(program, setup, kind);
    for (const Unit& unit : setup.layout.units) {
      const auto* held = static_cast<const float*>(program.host_pointer(kind.source + "." + unit.name));
      for (const ParamPart& part : parts_in_shard(unit, setup.sharding.state_shard(), setup.sharding.state_shards())) {
        std::vector<float>& tensor = outcome.tensors[kind.name + "/" + part.param->name];
        tensor.resize(static_cast<size_t>(part.param->numel()), NAN);
        std::copy_n(held + part.offset, part.count, tensor.begin() + part.first);
      }
    }
  }
}

struct Arrangement {
  int ranks = 1, stage = 0, threads = 1, replicas = 1;
  std::vector<std::string> sets = {};
  ThreadWorldOptions world = {};
  std::optional<uint64_t> queues = {};  // streams advance in an order drawn from this seed
  test::Memory memory = test::Memory::kShared;
};

Outcome outcome_of(const Arrangement& a) {
  std::vector<std::string> sets = a.sets;
  sets.push_back("parallel.zero_stage=" + std::to_string(a.stage));
  sets.push_back("parallel.replicate_group=" + std::to_string(a.replicas));
  const RunConfig config = config_of(sets);
  Outcome outcome;
  std::mutex mutex;
  run_ranks(a.ranks, a.world, [&](World& world) {
    Ranks ranks(world);
    const RunSetup setup = make_setup(config, make_mesh(world, a.replicas));
    const auto data = open_training_data(config);
    const std::unique_ptr<Device> device =
        a.queues ? std::make_unique<test::QueueDevice>(*a.queues + 100 * world.rank(), a.memory) : make_cpu_device();
    Pool pool(a.threads);
    const Target target = target_of(*device, a.threads);
    Program program(compile_run(setup, run_program_options(config, setup, target), target), *device, pool);
    initialize_state(program, setup);
    program.run("constants");
    refresh_weights(program);
    StepRunner runner(program, setup, config, *data, ranks, 0);
    Outcome own;
    for (int64_t step = 0; step < config.steps(); ++step) {
      const StepResult result = runner.run(step);
      EXPECT_TRUE(result.finite);
      own.losses.push_back(result.loss);
      own.norms.push_back(result.grad_norm);
    }
    program.synchronize();  // with the others: none may hold the lock meanwhile
    const std::lock_guard lock(mutex);
    if (outcome.losses.empty()) outcome.losses = own.losses, outcome.norms = own.norms;
    EXPECT_EQ(own.losses, outcome.losses) << "every rank knows the whole loss";
    EXPECT_EQ(own.norms, outcome.norms);
    collect(program, setup, outcome);
  });
  return outcome;
}

MemoryPlan plan_of(const RunConfig& config, int ranks, int rank, int replicas) {
  const RunSetup setup = make_setup(config, plan_mesh(ranks, rank, replicas));
  return compile_run(setup, run_program_options(config, setup, 1), 1).memory;
}

// NCCL may read and write registered memory only where it lies at one place on all ranks.
TEST(Ranks, MemoryLiesAtOnePlaceOnAllRanks) {
  for (int stage = 0; stage <= 3; ++stage)
    for (int replicas : {1, 2}) {
      const RunConfig config = config_of(
          {"parallel.zero_stage=" + std::to_string(stage), "parallel.replicate_group=" + std::to_string(replicas)});
      const MemoryPlan first = plan_of(config, 4, 0, replicas);
      for (int rank = 1; rank < 4; ++rank) {
        const MemoryPlan plan = plan_of(config, 4, rank, replicas);
        EXPECT_EQ(plan.arena_bytes, first.arena_bytes);
        for (size_t g = 0; g < first.graphs.size(); ++g)
          EXPECT_TRUE(
              std::ranges::equal(plan.graphs[g].values, first.graphs[g].values, {}, &Place::offset, &Place::offset))
              << "stage " << stage << ", " << replicas << " replicas, rank " << rank << ", graph " << g;
      }
    }
}

void expect_same(const Outcome& a, const Outcome& b, const std::string& what) {
  EXPECT_EQ(a.losses, b.losses) << what;
  EXPECT_EQ(a.norms, b.norms) << what;
  ASSERT_EQ(a.tensors.size(), b.tensors.size()) << what;
  for (const auto& [name, values] : a.tensors) EXPECT_TRUE(values == b.tensors.at(name)) << what << ": " << name;
}

std::string name_of(const Arrangement& a) {
  return std::to_string(a.ranks) + " ranks, stage " + std::to_string(a.stage) + ", " + std::to_string(a.threads) +
         " threads, " + std::to_string(a.replicas) + " replicas";
}

const std::vector<std::string> kBf16 = {"precision.compute=bf16", "precision.reduce=bf16", "precision.residual=bf16"};

TEST(Ranks, AnyNumberAtAnyStageMakesTheStepsOfOne) {
  const Outcome one = outcome_of({});
  for (int ranks : {1, 2, 3, 4, 6})
    for (int stage : {0, 1, 2, 3}) {
      const Arrangement a = {.ranks = ranks, .stage = stage};
      expect_same(outcome_of(a), one, name_of(a));
    }
}

TEST(Ranks, MakeTheStepsOfOneInBf16) {
  const Outcome one = outcome_of({.sets = kBf16});
  for (int ranks : {2, 3, 4})
    for (int stage : {0, 1, 3}) {
      const Arrangement a = {.ranks = ranks, .stage = stage, .threads = 2, .sets = kBf16};
      expect_same(outcome_of(a), one, name_of(a));
    }
}

// The moments after a step are the clipped gradient times a factor: how far they are off, relative to the largest.
double gradient_error(const Outcome& a, const Outcome& b) {
  double error = 0, largest = 0;
  for (const auto& [name, expected] : b.tensors) {
    if (!name.starts_with("adam.m/")) continue;
    const std::vector<float>& given = a.tensors.at(name);
    for (size_t i = 0; i < expected.size(); ++i) {
      error = std::max(error, std::fabs(static_cast<double>(given[i]) - static_cast<double>(expected[i])));
      largest = std::max(largest, std::fabs(static_cast<double>(expected[i])));
    }
  }
  EXPECT_GT(largest, 0);
  return error / largest;
}

// Twelve fp32 terms in another order: each of eleven sums is off by at most 2^-24 of itself.
TEST(Ranks, FastestSumsTheSameGradients) {
  const Outcome one = outcome_of({.sets = {"steps=1"}});
  for (const auto& [ranks, replicas] : std::vector<std::pair<int, int>>{{1, 1}, {2, 1}, {3, 1}, {4, 2}, {12, 3}})
    for (int stage : {0, 1, 2, 3}) {
      const Arrangement a = {
          .ranks = ranks, .stage = stage, .replicas = replicas, .sets = {"steps=1", "parallel.reduction=fastest"}};
      const Outcome fastest = outcome_of(a);
      EXPECT_EQ(fastest.losses, one.losses) << name_of(a) << ": losses are summed in order all the same";
      EXPECT_LT(gradient_error(fastest, one), 12 * std::ldexp(1, -24)) << name_of(a);
    }
}

// Gradients travel in bf16, which keeps eight bits; in canonical each term does, here the sums of each rank.
TEST(Ranks, FastestRoundsWhatTravels) {
  const Outcome one = outcome_of({.sets = {"steps=1"}});
  for (int stage : {0, 1, 2, 3}) {
    const Arrangement a = {
        .ranks = 3, .stage = stage, .sets = {"steps=1", "parallel.reduction=fastest", "precision.reduce=bf16"}};
    const double error = gradient_error(outcome_of(a), one);
    EXPECT_LT(error, std::ldexp(1, -8)) << name_of(a);
    EXPECT_GT(error, std::ldexp(1, -20)) << name_of(a) << ": nothing was rounded";
  }
}

TEST(Ranks, FastestGoesOnStepAfterStepInAnyOrderThatTheWaitsAllow) {
  for (int stage : {0, 1, 3}) {
    Arrangement a = {.ranks = 2, .stage = stage, .sets = {"parallel.reduction=fastest"}};
    const Outcome cpu = outcome_of(a);
    for (uint64_t seed = 0; seed < 4; ++seed) {
      a.queues = seed;
      expect_same(outcome_of(a), cpu, name_of(a) + ", queues of seed " + std::to_string(seed));
    }
  }
}

TEST(Ranks, TwoLevelGroupsMakeTheStepsOfOne) {
  const Outcome one = outcome_of({});
  for (int stage : {0, 2, 3})
    for (const auto& [ranks, replicas] : std::vector<std::pair<int, int>>{{2, 2}, {4, 2}, {6, 2}, {6, 3}}) {
      const Arrangement a = {.ranks = ranks, .stage = stage, .replicas = replicas};
      expect_same(outcome_of(a), one, name_of(a));
    }
}

TEST(Ranks, GroupsThatAreSummedInsideANodeAreThoseOfOne) {
  for (const char* group : {"parallel.fold_group=2", "parallel.fold_group=3", "parallel.fold_group=6"}) {
    const Outcome one = outcome_of({.sets = {group}});
    for (const auto& [ranks, replicas] : std::vector<std::pair<int, int>>{{4, 2}, {6, 2}, {12, 2}, {12, 4}}) {
      const Arrangement a = {.ranks = ranks, .stage = 3, .replicas = replicas, .sets = {group}};
      expect_same(outcome_of(a), one, name_of(a) + " " + group);
    }
  }
}

TEST(Ranks, RecomputationIsWithoutEffect) {
  const Outcome one = outcome_of({});
  for (const char* policy : {"parallel.recompute=block", "parallel.recompute=selective"}) {
    const Arrangement a = {.ranks = 3, .stage = 3, .sets = {policy}};
    expect_same(outcome_of(a), one, name_of(a) + " " + policy);
  }
}

TEST(Ranks, LittleMemoryForGathersIsWithoutEffect) {
  const Outcome one = outcome_of({});
  const Arrangement a = {.ranks = 2, .stage = 3, .sets = {"parallel.prefetch_bytes=100000"}};
  expect_same(outcome_of(a), one, name_of(a));
}

// Ranks, stage and threads follow the seed as well. `make soak` asks for more of them.
TEST(Ranks, DelaysAreWithoutEffect) {
  const char* const asked = std::getenv("SHARDIT_DELAY_SCHEDULES");
  const uint64_t schedules = asked ? std::stoull(asked) : 24;
  const Outcome one = outcome_of({});
  for (uint64_t seed = 0; seed < schedules; ++seed) {
    const int ranks[] = {2, 3, 4};
    const Arrangement a = {.ranks = ranks[seed / 4 % 3],
                           .stage = static_cast<int>(seed % 4),
                           .threads = 1 + static_cast<int>(seed / 12 % 2),
                           .world = {.seed = seed, .max_delay_us = 300}};
    expect_same(outcome_of(a), one, name_of(a) + ", delays of seed " + std::to_string(seed));
  }
}

// A device that lets compute, wire and copies advance in any order that the schedule's waits allow: a forgotten wait,
// or bytes given away before another stream is done with them, show as other bits.
TEST(Ranks, AnyOrderThatTheWaitsAllowMakesTheStepsOfOne) {
  const Outcome one = outcome_of({});
  for (uint64_t seed = 0; seed < 6; ++seed)
    for (int stage : {0, 1, 3}) {
      const Arrangement a = {.ranks = 2, .stage = stage, .queues = seed};
      expect_same(outcome_of(a), one, name_of(a) + ", queues of seed " + std::to_string(seed));
    }
}

TEST(Ranks, OnDevicesWithMemoryOfTheirOwnMakeTheStepsOfOne) {
  const Outcome one = outcome_of({});
  for (int ranks : {1, 2})
    for (int stage : {0, 2, 3}) {
      const Arrangement a = {.ranks = ranks, .stage = stage, .queues = 7, .memory = test::Memory::kApart};
      expect_same(outcome_of(a), one, name_of(a) + ", apart");
    }
}

TEST(Ranks, ValidationAndSamplesAreThoseOfOne) {
  const auto watched = [](int ranks, int stage) {
    const RunConfig config =
        config_of({"parallel.zero_stage=" + std::to_string(stage), "sample.every_steps=1", "sample.batch=3",
                   "validation.every_steps=1", "validation.images=10", "validation.bins=3"});
    std::vector<double> losses;
    std::vector<float> images;
    std::mutex mutex;
    run_ranks(ranks, {}, [&](World& world) {
      Ranks all(world);
      const RunSetup setup = make_setup(config, make_mesh(world, 1));
      const auto device = make_cpu_device();
      Pool pool(1);
      const RunProgramOptions options = run_program_options(config, setup);
      Program program(compile_run(setup, options, 1), *device, pool);
      initialize_state(program, setup);
      program.run("constants");
      const auto data = open_validation_data(config, *open_training_data(config));
      const Validation validation(*data, setup, 10, 3, *options.validation_batch);
      const ValidationResult result = validation.run(program, all);
      const SampledImages drawn = draw_all_images(program, setup, *options.sampling, options.sampling_plan,
                                                  {0, 1, 2, 3, 4, 5, 6}, 0, all, nullptr);
      EXPECT_EQ(drawn.count, 7);
      std::vector<float> in_parts;
      EXPECT_TRUE(draw_images(program, setup, *options.sampling, options.sampling_plan, {0, 1, 2, 3, 4, 5, 6}, 0, all,
                              nullptr, [&](const SampledImages& some) {
                                EXPECT_EQ(some.first * std::ssize(drawn.real) / 7, std::ssize(in_parts)) << "in order";
                                EXPECT_LE(some.count, 3 * ranks) << "a batch of each rank";
                                in_parts.insert(in_parts.end(), some.real.begin(), some.real.end());
                              }));
      EXPECT_EQ(in_parts, drawn.real);
      const std::lock_guard lock(mutex);
      if (losses.empty()) losses = result.bins, images = drawn.real;
      EXPECT_EQ(result.bins, losses);
      EXPECT_EQ(drawn.real, images) << "every rank gets all images";
    });
    return std::make_pair(losses, images);
  };
  const auto one = watched(1, 0);
  for (int ranks : {2, 3})
    for (int stage : {0, 2, 3}) EXPECT_EQ(watched(ranks, stage), one) << ranks << " ranks, stage " << stage;
}

// ---- memory ------------------------------------------------------------------------------------------------------

std::map<BufferClass, int64_t> planned(int ranks, int stage, const std::vector<std::string>& more) {
  std::vector<std::string> sets = more;
  sets.push_back("parallel.zero_stage=" + std::to_string(stage));
  const RunConfig config = config_of(sets);
  const RunSetup setup = make_setup(config, plan_mesh(ranks, 0, 1));
  return compile_run(setup, run_program_options(config, setup), 1).memory.bytes_by_class();
}

int64_t padded_elements(const Layout& layout, int shards) { return layout.padded(shards).elements(); }

// The formulas of docs/dist.md, in bytes per padded element, for bf16 and 12 micro-batches in groups of 5.
TEST(Ranks, HoldTheBytesThatTheStageSays) {
  const Layout layout = diffit_layout(make_setup(config_of({})).model);
  for (int ranks : {1, 2, 4})
    for (int stage : {0, 1, 2, 3}) {
      auto bytes = planned(ranks, stage, kBf16);
      const int64_t whole = padded_elements(layout, ranks), shard = whole / ranks, state = stage == 0 ? whole : shard;
      const std::string what = std::to_string(ranks) + " ranks, stage " + std::to_string(stage);
      EXPECT_EQ(bytes[BufferClass::kOptimizer], 8 * state) << what << ": m and v";
      EXPECT_EQ(bytes[BufferClass::kEma], 8 * state) << what << ": two profiles";
      const int64_t sent_to_all = ranks > 1 && stage == 0 ? 4 * whole : 0;
      EXPECT_EQ(bytes[BufferClass::kGradients], 8 * shard + sent_to_all) << what << ": the sum, and the open group's";
      const int64_t gathered = ranks > 1 && (stage == 1 || stage == 2) ? 2 * whole : 0;
      const int64_t constants = planned(1, 0, kBf16)[BufferClass::kParameters] - 6 * padded_elements(layout, 1);
      EXPECT_EQ(bytes[BufferClass::kParameters], (4 + 2) * state + gathered + constants) << what << ": weights";
    }
}

// Fastest keeps a whole gradient where each rank sums its own micro-batches, and sends it once.
TEST(Ranks, FastestHoldsWholeGradientsAtTheLowStages) {
  const int64_t whole = padded_elements(diffit_layout(make_setup(config_of({})).model), 2), shard = whole / 2;
  const std::vector<std::string> fastest = {"parallel.reduction=fastest"};
  EXPECT_EQ(planned(2, 0, fastest)[BufferClass::kGradients], 4 * (shard + whole + whole));
  EXPECT_EQ(planned(2, 1, fastest)[BufferClass::kGradients], 4 * (shard + whole));
  EXPECT_EQ(planned(2, 2, fastest)[BufferClass::kGradients], 4 * shard);
  EXPECT_EQ(planned(2, 3, fastest)[BufferClass::kGradients], 4 * shard);
}

Graph sharded_micro_step(const RunConfig& config, int ranks) {
  const RunSetup setup = make_setup(config, plan_mesh(ranks, 0, 1));
  Graph constants;
  return shard_micro_step(lower(build_micro_step(setup, keyed_loss_inputs, nullptr), setup, constants), setup,
                          Round::kEarlier);
}

// The steps that read the value, views of it and what is made in its place.
int last_reader(const Graph& graph, int value) {
  const std::vector<Extent> extents = find_extents(graph);
  int last = -1;
  for (int n = 0; n < graph.node_count(); ++n)
    for (int v : graph.node(n).in)
      if (extents[v].root == extents[value].root) last = n;
  return last;
}

// A gather starts only when what is surely let go by then makes room for it.
TEST(Ranks, GathersInFlightStayWithinTheirBudget) {
  for (const int64_t budget : {70000, 100000, 130000, 1000000}) {
    const Graph graph = sharded_micro_step(
        config_of({"parallel.zero_stage=3", "parallel.prefetch_bytes=" + std::to_string(budget)}), 4);
    const Schedule order = schedule(graph);
    std::vector<int> gathers;
    for (int n = 0; n < graph.node_count(); ++n)
      if (graph.node(n).label.starts_with("gather ") && graph.node(n).stream == Stream::kWire) gathers.push_back(n);
    ASSERT_GE(gathers.size(), 8u) << "each of five units before forward, most of them before backward again";
    int64_t most = 0;
    for (int gather : gathers) {
      int64_t in_flight = 0;
      for (int other : gathers) {
        const int whole = graph.node(other).out[0];
        if (other <= gather && (other == gather || !order.happens_before(last_reader(graph, whole), gather)))
          in_flight += graph.info(whole).type.bytes();
      }
      EXPECT_LE(in_flight, budget) << graph.node(gather).label;
      most = std::max(most, in_flight);
    }
    EXPECT_GT(most, budget / 2) << "a window that is there is used";
  }
}

TEST(Ranks, GradientsInFlightStayWithinTheirBudgetHoweverDeepTheModel) {
  const auto wire = [](const std::string& depth, const std::string& budget) {
    return planned(4, 2, {"model.depth=" + depth, "parallel.prefetch_bytes=" + budget})[BufferClass::kWire];
  };
  EXPECT_EQ(wire("12", "100000"), wire("6", "100000"));
  EXPECT_LT(wire("12", "100000"), wire("12", "300000"));
  EXPECT_LT(wire("12", "300000"), wire("12", "100000000")) << "all of them may be";
}

TEST(Ranks, AreFoldedBesideTheComputation) {
  const Graph graph = sharded_micro_step(config_of({}), 2);
  int folds = 0;
  for (int n = 0; n < graph.node_count(); ++n)
    if (graph.node(n).card == &fold_card) {
      EXPECT_EQ(graph.node(n).stream, Stream::kWire) << graph.node(n).label;
      ++folds;
    }
  EXPECT_EQ(folds, 5);
}

}  // namespace
}  // namespace shardit
