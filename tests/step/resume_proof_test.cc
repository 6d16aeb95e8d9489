// The loss that a checkpoint is known by: that of the next micro-batch, whatever computes it, and without a trace.
#include "launcher/resume_proof.h"

#include <gtest/gtest.h>

#include <bit>
#include <mutex>

#include "core/error.h"
#include "dist/thread_world.h"
#include "launcher/run_data.h"
#include "launcher/run_device.h"
#include "launcher/step_runner.h"
#include "tests/core/queue_device.h"
#include "tests/step/tiny_run.h"

namespace shardit {
namespace {

struct Arrangement {
  int ranks = 1, stage = 0, replicas = 1;
  std::vector<std::string> sets = {};
};

std::string name_of(const Arrangement& a) {
  return std::to_string(a.ranks) + " ranks, stage " + std::to_string(a.stage) + ", " + std::to_string(a.replicas) +
         " replicas" + (a.sets.empty() ? "" : ", " + a.sets[0]);
}

// A rank of a job that has made two steps.
struct Rank {
  Rank(const Arrangement& a, World& world, std::unique_ptr<Device> runs_on = make_cpu_device())
      : config(test::tiny_config(all_sets(a))),
        ranks(world),
        setup(make_setup(config, make_mesh(world, a.replicas))),
        data(open_training_data(config)),
        device(std::move(runs_on)),
        target(target_of(*device, 1)),
        program(compile_run(setup, run_program_options(config, setup, target), target), *device, pool),
        proof(program, setup, config, *data, ranks, *device, products),
        steps(program, setup, config, *data, ranks, 0) {
    initialize_state(program, setup);
    program.run("constants");
    refresh_weights(program);
    for (int64_t step = 0; step < 2; ++step) steps.run(step);
  }

  static std::vector<std::string> all_sets(const Arrangement& a) {
    std::vector<std::string> sets = a.sets;
    for (const std::string& set :
         {"parallel.zero_stage=" + std::to_string(a.stage), "parallel.replicate_group=" + std::to_string(a.replicas),
          std::string("data.flip=true")})
      sets.push_back(set);
    return sets;
  }

  RunConfig config;
  Ranks ranks;
  RunSetup setup;
  std::unique_ptr<Dataset> data;
  std::unique_ptr<Device> device;
  Target target;
  Pool pool{1};
  Program program;
  RunProducts products;
  ResumeProof proof;
  StepRunner steps;
};

// What training itself finds for micro-batch 0 of step 2: with a rank per micro-batch, the first loss of the only
// round.
uint32_t bits_in_training(const std::vector<std::string>& sets) {
  uint32_t bits = 0;
  run_ranks(4, {}, [&](World& world) {
    Rank rank({.ranks = 4, .sets = sets}, world);
    rank.steps.run(2);
    float losses[4];
    rank.program.download("step.loss", losses, sizeof losses);
    if (world.rank() == 0) bits = std::bit_cast<uint32_t>(losses[0]);
  });
  return bits;
}

TEST(ResumeProof, IsTheLossOfTheNextMicroBatchOnAnyNumberOfRanksAtAnyStage) {
  for (const auto& sets : {std::vector<std::string>{}, test::kDdpmInBf16, test::kEdmInBf16}) {
    const uint32_t expected = bits_in_training(sets);
    for (const Arrangement& a :
         {Arrangement{1, 0}, {1, 3}, {2, 0}, {2, 2}, {2, 3}, {4, 1}, {4, 3}, {4, 2, 2}, {4, 3, 2}})
      run_ranks(a.ranks, {}, [&](World& world) {
        Rank rank({a.ranks, a.stage, a.replicas, sets}, world);
        EXPECT_EQ(rank.proof.loss_bits(2), expected) << name_of(a);
      });
  }
}

TEST(ResumeProof, IsTheSameOnADeviceWithMemoryOfItsOwn) {
  for (const auto& sets : {std::vector<std::string>{}, test::kEdmInBf16})
    run_ranks(1, {}, [&](World& world) {
      Rank cpu({.sets = sets}, world),
          apart({.sets = sets}, world, std::make_unique<test::QueueDevice>(5, test::Memory::kApart));
      EXPECT_EQ(apart.proof.loss_bits(2), cpu.proof.loss_bits(2));
    });
}

// The steps after it have the losses, norms and weights that they have without it.
TEST(ResumeProof, LeavesNoTrace) {
  for (const auto& sets : {std::vector<std::string>{}, test::kDdpmInBf16})
    for (int stage : {0, 2, 3})
      run_ranks(2, {}, [&](World& world) {
        Rank plain({2, stage, 1, sets}, world), proven({2, stage, 1, sets}, world);
        for (int64_t step = 2; step < 5; ++step) {
          EXPECT_TRUE(proven.proof.loss_bits(step)) << "images of step " << step;
          const StepResult a = plain.steps.run(step), b = proven.steps.run(step);
          EXPECT_EQ(a.loss, b.loss) << "stage " << stage;
          EXPECT_EQ(a.grad_norm, b.grad_norm) << "stage " << stage;
        }
        for (const auto& [name, buffer] : plain.program.memory().buffers) {
          if (!name.starts_with("master.") && !name.starts_with("adam.") && !name.starts_with("ema.")) continue;
          std::vector<std::byte> a(buffer.bytes), b(buffer.bytes);
          plain.program.download(name, a.data(), buffer.bytes);
          proven.program.download(name, b.data(), buffer.bytes);
          EXPECT_EQ(a, b) << name << ", stage " << stage;
        }
      });
}

// At stage 0 every rank holds all weights, and nothing else compares them.
TEST(ResumeProof, NamesARankWhoseWeightsAreOthers) {
  try {
    run_ranks(2, {}, [](World& world) {
      Rank rank({.ranks = 2}, world);
      auto* weights =
          static_cast<float*>(rank.program.host_pointer(unit_buffer("master", rank.setup.layout.units.back())));
      if (world.rank() == 1) weights[0] += 0.25f;
      rank.proof.loss_bits(2);
    });
    FAIL() << "nobody noticed";
  } catch (const StopError& error) {
    EXPECT_NE(std::string(error.what()).find("step 2: ranks disagree on the loss of one micro-batch: rank 1 gets"),
              std::string::npos)
        << error.what();
  }
}

struct UnreadableImages : Dataset {
  using Dataset::Dataset;
  void read(int64_t, uint8_t*, int64_t*) const override { throw IoError("bad sector"); }
};

// The weights of a save are good whatever becomes of the next step's images.
TEST(ResumeProof, IsLeftOutWhereTheNextImagesCannotBeRead) {
  for (int ranks : {1, 2})
    run_ranks(ranks, {}, [ranks](World& world) {
      Rank rank({.ranks = ranks}, world);
      const UnreadableImages unreadable({.name = "broken", .size = 40, .height = 8, .width = 8, .channels = 1});
      ResumeProof proof(rank.program, rank.setup, rank.config, unreadable, rank.ranks, *rank.device, rank.products);
      EXPECT_EQ(proof.loss_bits(2), std::nullopt);
    });
}

}  // namespace
}  // namespace shardit
