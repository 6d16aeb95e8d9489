// Where a run computes: what --device and the config's `device` do on a machine without a GPU.
#include "tests/cli/program.h"

namespace shardit {
namespace {

bool has_gpu() { return run({"doctor", "--gpus"}).code == 0; }

// Of --device cuda: a build without CUDA cannot, a build with it finds no GPU here.
struct Refusal {
  int code;
  Words words;
};
Refusal refusal() {
  if (BUILT_WITH_CUDA) return {3, {"device=cuda: CUDA finds no "}};
  return {2, {"device=cuda: this build has no CUDA; use device=cpu"}};
}

TEST(Device, CudaIsRefusedInOneLineWhereItCannotBeUsed) {
  if (has_gpu()) GTEST_SKIP() << "this machine has a GPU";
  const TestFolder folder;
  const auto [code, words] = refusal();
  EXPECT_TRUE(fails(train(folder / "run", {"--device", "cuda"}), code, words));
  EXPECT_TRUE(fails(train(folder / "run", {"--set", "device=cuda"}), code, words));
  EXPECT_TRUE(fails(run({"parity", "no.safetensors", "--device", "cuda"}), code, words));
  ASSERT_EQ(train(folder / "run", {"--steps", "1"}).code, 0);
  EXPECT_TRUE(fails(run({"sample", folder / "run", "--npz", folder / "o.npz", "--device", "cuda"}), code, words));
}

TEST(Device, AutoTakesTheCpuAndABuildWithCudaSaysSo) {
  if (has_gpu()) GTEST_SKIP() << "this machine has a GPU";
  const TestFolder folder;
  const Ran ran = train(folder / "run", {"--steps", "1"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out.find("device: cpu, CUDA finds no ") != std::string::npos, BUILT_WITH_CUDA) << ran.out;
}

TEST(Device, APlanForAGpuCountsTheCopiesOnTheHost) {
  if (!BUILT_WITH_CUDA) GTEST_SKIP() << "this build has no CUDA";
  const Ran ran = run({"plan", tiny_config(), "--set", "device=cuda"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("\n  host "), std::string::npos) << ran.out;
}

TEST(Device, DoctorSaysWhyNoGpuCanBeUsed) {
  const Ran ran = run({"doctor"});
  if (has_gpu()) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_NE(ran.out.find(BUILT_WITH_CUDA ? "none: CUDA finds no " : "none: this build has no CUDA"), std::string::npos)
      << ran.out;
}

}  // namespace
}  // namespace shardit
