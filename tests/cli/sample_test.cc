// `shardit sample`: what it writes, what never changes a byte, what it refuses.
#include <cstdlib>
#include <filesystem>

#include "data/npz.h"
#include "tests/cli/program.h"

namespace shardit {
namespace {

// One trained run, and samples of it as bytes.
struct Trained : TestFolder {
  std::string run_dir = *this / "run";
  explicit Trained(const Words& more = {}) {
    Words words = {"--steps", "3", "--set", "checkpoint.every_steps=2"};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_TRUE(succeeds(train(run_dir, words)));
  }
  Ran sample(const std::string& checkpoint, const Words& more, const Surroundings& s = {}) const {
    Words words = {"sample", checkpoint, "--npz", *this / "out.npz"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words, s);
  }
  std::vector<uint8_t> pixels(const Words& more = {}, const Surroundings& s = {}) const {
    const Ran ran = sample(run_dir, more, s);
    EXPECT_TRUE(succeeds(ran));
    return NpzReader(*this / "out.npz").read_all<uint8_t>("arr_0");
  }
  std::vector<int64_t> labels() const { return NpzReader(*this / "out.npz").read_all<int64_t>("arr_1"); }
};

TEST(Sample, WritesAGridAndAnNpz) {
  const Trained trained;
  ASSERT_TRUE(succeeds(trained.sample(trained.run_dir, {"--out", trained / "grid.png"})));
  EXPECT_TRUE(bytes_of_file(trained / "grid.png").starts_with("\x89PNG"));
  const NpzReader npz(trained / "out.npz");
  EXPECT_EQ(npz.find("arr_0")->shape, (Shape{8, 6, 6, 3}));
  EXPECT_EQ(npz.find("arr_1")->shape, (Shape{8}));
  EXPECT_EQ(trained.labels(), (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 0}));
}

TEST(Sample, NumpyReadsTheNpz) {
  if (system("python3 -c 'import numpy' 2>/dev/null") != 0) GTEST_SKIP() << "python3 has no numpy here";
  const Trained trained;
  ASSERT_TRUE(succeeds(trained.sample(trained.run_dir, {})));
  const std::string script = "import numpy; f = numpy.load('" + (trained / "out.npz") + "'); " +
                             "assert f['arr_0'].dtype == 'uint8' and f['arr_0'].shape == (8, 6, 6, 3); " +
                             "assert f['arr_1'].dtype == 'int64' and list(f['arr_1'][:3]) == [0, 1, 2]";
  EXPECT_EQ(system(("python3 -c \"" + script + "\"").c_str()), 0);
}

TEST(Sample, TheSameBytesForAnyNumberOfThreads) {
  const Trained trained;
  const auto one = trained.pixels({}, {.environment = {{"OMP_NUM_THREADS", "1"}}});
  EXPECT_EQ(trained.pixels({}, {.environment = {{"OMP_NUM_THREADS", "2"}}}), one);
  const Ran ran = trained.sample(trained.run_dir, {"--ema", "fast"}, {.environment = {{"OMP_NUM_THREADS", "2"}}});
  EXPECT_TRUE(contains(ran.out, "step-00000003, ema.fast | 8 images in 4 steps | 1 rank, 2 threads each"));
  EXPECT_NE(trained.pixels({"--seed", "1"}), one);
}

TEST(Sample, AnyNumberOfImagesAndTheFirstAreTheSame) {
  const Trained trained;
  const auto eight = trained.pixels({"--num", "8"});
  for (size_t num : {1, 3, 5, 13}) {
    const auto some = trained.pixels({"--num", std::to_string(num), "--out", trained / "grid.png"});
    ASSERT_EQ(some.size(), num * 108);
    const size_t common = std::min<size_t>(num, 8) * 108;
    EXPECT_TRUE(std::equal(some.begin(), some.begin() + static_cast<int64_t>(common), eight.begin())) << num;
  }
}

TEST(Sample, ClassesAreTakenInTurn) {
  const Trained trained;
  trained.pixels({"--classes", "6,2", "--num", "5", "--out", trained / "grid.png"});
  EXPECT_EQ(trained.labels(), (std::vector<int64_t>{6, 2, 6, 2, 6}));
  for (const char* wrong : {"7", "-1", "x", "0,,1", "1;2", "99999999999999999999"})
    EXPECT_TRUE(fails(trained.sample(trained.run_dir, {"--classes", wrong}), 2, {"--classes", "numbers from 0 to 6"}));
}

TEST(Sample, EveryEmaAndTheTrainedWeightsDiffer) {
  const Trained trained;
  const auto slow = trained.pixels();
  EXPECT_EQ(trained.pixels({"--ema", "slow"}), slow) << "the first profile is the default";
  const auto fast = trained.pixels({"--ema", "fast"});
  EXPECT_NE(fast, slow);
  EXPECT_NE(trained.pixels({"--ema", "none"}), fast);
  EXPECT_TRUE(fails(trained.sample(trained.run_dir, {"--ema", "other"}), 2, {"\"other\"", "fast", "slow", "none"}));
}

TEST(Sample, AStepDirectoryIsTakenAtItsWord) {
  const Trained trained;
  ASSERT_TRUE(succeeds(trained.sample(checkpoint_path(trained.run_dir, 2), {"--ema", "none"})));
  const auto second = NpzReader(trained / "out.npz").read_all<uint8_t>("arr_0");
  EXPECT_NE(trained.pixels({"--ema", "none"}), second);
}

TEST(Sample, ExportedWeightsGiveTheCheckpointsPixels) {
  const Trained trained;
  for (const auto& [which, ema] : {std::pair{"params", "none"}, std::pair{"ema:fast", "fast"}}) {
    const auto expected = trained.pixels({"--ema", ema});
    const std::string file = trained / "weights.safetensors";
    ASSERT_TRUE(succeeds(run({"checkpoint", "export", trained.run_dir, file, "--which", which})));
    EXPECT_TRUE(succeeds(trained.sample(file, {"--config", tiny_config(), "--ema", ema})));
    EXPECT_EQ(NpzReader(trained / "out.npz").read_all<uint8_t>("arr_0"), expected) << which;
    EXPECT_TRUE(succeeds(trained.sample(file, {"--config", tiny_config()}))) << "whatever profile it stands for";
    std::filesystem::rename(file, trained / "weights");
    EXPECT_TRUE(succeeds(trained.sample(trained / "weights", {"--config", tiny_config()}))) << "whatever its name";
  }
}

TEST(Sample, ASafetensorsFileNeedsItsConfigAndNothingElseTakesOne) {
  const Trained trained;
  EXPECT_TRUE(fails(trained.sample(trained / "w.safetensors", {}), 2, {"--config"}));
  EXPECT_TRUE(
      fails(trained.sample(trained / "w.safetensors", {"--config", tiny_config()}), 2, {"w.safetensors is no file"}));
  EXPECT_TRUE(fails(trained.sample(trained.run_dir, {"--config", tiny_config()}), 2, {"--config"}));
  write_bytes(trained / "w.safetensors", "junk");
  EXPECT_TRUE(fails(trained.sample(trained / "w.safetensors", {"--config", tiny_config()}), 4, {"w.safetensors"}));
}

TEST(Sample, EverySamplerFitsItsProcessAndIsRefusedOnTheOther) {
  const Trained ddpm,
      edm({"--set", "diffusion.process=edm", "--set", "diffusion.timesteps=", "--set", "sample.sampler="});
  for (const char* sampler : {"ddpm", "ddim", "dpmpp"}) ddpm.pixels({"--sampler", sampler, "--steps", "5"});
  for (const char* sampler : {"heun", "dpmpp"}) edm.pixels({"--sampler", sampler, "--steps", "5"});
  EXPECT_TRUE(
      fails(ddpm.sample(ddpm.run_dir, {"--sampler", "heun"}), 2, {"heun", "ddpm process", "ddpm, ddim or dpmpp"}));
  for (const char* sampler : {"ddpm", "ddim"})
    EXPECT_TRUE(fails(edm.sample(edm.run_dir, {"--sampler", sampler}), 2, {sampler, "edm process", "heun or dpmpp"}));
  EXPECT_TRUE(fails(ddpm.sample(ddpm.run_dir, {"--sampler", "euler"}), 2, {"euler", "ddpm, ddim, heun or dpmpp"}));
  EXPECT_TRUE(fails(ddpm.sample(ddpm.run_dir, {"--steps", "101"}), 2, {"101", "diffusion.timesteps=100"}));
}

TEST(Sample, GuidanceChangesPixels) {
  const Trained trained;
  const auto plain = trained.pixels({"--cfg", "1"}), guided = trained.pixels({"--cfg", "4"});
  EXPECT_NE(plain, guided);
  EXPECT_NE(trained.pixels({"--cfg", "4", "--cfg-schedule", "power-cosine"}), guided);
  EXPECT_NE(trained.pixels({"--cfg", "4", "--cfg-channels", "1"}), guided);
  EXPECT_TRUE(fails(trained.sample(trained.run_dir, {"--cfg", "nan"}), 2, {"--cfg: got 'nan', expected a number"}));
  EXPECT_TRUE(fails(trained.sample(trained.run_dir, {"--cfg-schedule", "sine"}), 2, {"power-cosine"}));
}

TEST(Sample, SaysBeforeTheWorkWhatCannotBeWritten) {
  const Trained trained({"--set", "model.in_channels=4"});
  EXPECT_TRUE(fails(run({"sample", trained.run_dir}), 2, {"--out", "--npz"}));
  EXPECT_TRUE(fails(run({"sample", trained.run_dir, "--npz", trained / "no/such/out.npz"}), 2, {"there is no folder"}));
  EXPECT_TRUE(fails(run({"sample", trained.run_dir, "--npz", trained.path.string()}), 2, {"is a folder"}));
  EXPECT_TRUE(fails(run({"sample", trained.run_dir, "--out", trained / "grid.png"}), 2, {"4 channels", "--npz"}));
  EXPECT_TRUE(fails(run({"sample", trained / "nowhere", "--npz", trained / "o.npz"}), 2, {"nowhere is no directory"}));
  EXPECT_TRUE(fails(run({"sample", trained.run_dir, "--npz", trained / "o.npz", "--num", "0"}), 2, {"--num"}));
}

// On the way: images are written as they are drawn.
TEST(Sample, AFullDiskLeavesNothingHalfDone) {
  const Trained trained;
  const Ran ran = trained.sample(trained.run_dir, {"--num", "200"}, {.largest_file_bytes = 4096});
  EXPECT_TRUE(fails(ran, 4, {"out.npz"}));
  EXPECT_FALSE(contains(ran.out, "100%")) << "not after all of them were drawn";
  EXPECT_FALSE(exists(trained / "out.npz") || exists(trained / "out.npz.partial"));
}

}  // namespace
}  // namespace shardit
