#include "launcher/run_device.h"

#include <gtest/gtest.h>

#include "core/cuda_device.h"
#include "core/error.h"
#include "launcher/config.h"
#include "launcher/memory_check.h"
#include "launcher/run_program.h"

namespace shardit {
namespace {

// This program links no device kernels, as one of a build without CUDA.
TEST(RunDevice, OfABuildWithoutCudaIsTheCpu) {
  ASSERT_FALSE(built_with_cuda());
  for (const char* wanted : {"auto", "cpu"}) {
    const RunDevice run = open_device(wanted);
    EXPECT_STREQ(run.device->name(), "cpu");
    EXPECT_TRUE(run.notes.empty());
    EXPECT_EQ(full_name(*run.device), "cpu");
    EXPECT_EQ(target_of(*run.device, 3).threads, 3);
    EXPECT_EQ(target_of(*run.device, 3).copied_on_host, nullptr);
  }
  EXPECT_THROW(open_device("cuda"), UserError);
  EXPECT_THROW(planned_target("cuda", 1), UserError);
}

TEST(RunDevice, BatchesAndStateHaveCopiesOnTheHost) {
  for (const char* name :
       {"batch.pixels", "validation.time", "master.blocks.0", "adam.v.final_layer", "ema.slow.blocks.1"})
    EXPECT_TRUE(copied_on_host(name)) << name;
  for (const char* name : {"param.blocks.0", "grad.blocks.0", "step.loss", "sample.x", "snapshot.master.blocks.0"})
    EXPECT_FALSE(copied_on_host(name)) << name;
}

TEST(MemoryCheck, ADeviceWithMemoryOfItsOwnIsHeldAgainstWhatItHasFree) {
  const RunConfig config =
      parse_config("data { kind: synthetic }  model { depth: 1 hidden_size: 64 num_heads: 2 }", "test");
  const RunSetup setup = make_setup(config);
  Target apart;
  apart.copied_on_host = copied_on_host;
  const MemoryPlan plan = compile_run(setup, run_program_options(config, setup, apart), apart).memory;
  check_memory(config, plan, {.target = apart, .device_free_bytes = plan.arena_bytes});
  try {
    check_memory(config, plan, {.target = apart, .device_free_bytes = plan.arena_bytes - 1});
    FAIL() << "nobody noticed";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("per rank, the GPU has free "), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("\nnearest: "), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace shardit
