// Every mistake gets one clear message and the exit code of the contract; none gets an abort.
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/cli/program.h"

namespace shardit {
namespace {

// `plan` reads the config as `train` does, and starts nothing.
Ran plan_with(const Words& sets) {
  Words words = {"plan", tiny_config()};
  for (const std::string& set : sets) words.insert(words.end(), {"--set", set});
  return run(words);
}

Ran plan_of_text(const std::string& text) {
  const TestFolder folder;
  folder.write("run.textproto", text);
  return run({"plan", folder / "run.textproto"});
}

TEST(BadConfig, AMisspeltKeyNamesTheNearestRealOne) {
  EXPECT_TRUE(fails(plan_of_text("data { kind: synthetic }\noptimizer { lrr: 1e-4 }\n"), 2,
                    {"run.textproto:2", "'optimizer.lrr'", "did you mean 'optimizer.lr'?"}));
  EXPECT_TRUE(
      fails(plan_with({"model.hiden_size=64"}), 2, {"'model.hiden_size'", "did you mean 'model.hidden_size'?"}));
  EXPECT_TRUE(fails(plan_with({"lr=1"}), 2, {"unknown key 'lr'", "did you mean 'optimizer.lr'?"}));
  EXPECT_TRUE(fails(plan_with({"zzz=1"}), 2, {"unknown key 'zzz'", "the keys are"}));
}

TEST(BadConfig, AWrongTypeSaysWhatIsExpected) {
  EXPECT_TRUE(fails(plan_of_text("steps: \"many\"\n"), 2, {"steps: expected a whole number, got \"many\""}));
  EXPECT_TRUE(fails(plan_with({"steps=1.5"}), 2, {"expected a whole number, got '1.5'"}));
  EXPECT_TRUE(fails(plan_with({"optimizer.lr=fast"}), 2, {"expected a number, got 'fast'"}));
  EXPECT_TRUE(fails(plan_with({"data.flip=perhaps"}), 2, {"expected true or false"}));
  EXPECT_TRUE(fails(plan_with({"precision.compute=fp8"}), 2, {"expected fp32, tf32 or bf16", "'fp8'"}));
  EXPECT_TRUE(fails(plan_with({"precision.compute=tf32"}), 2, {"are a GPU's", "device=cuda"}));
  EXPECT_TRUE(fails(plan_with({"steps=99999999999999999999"}), 2, {"steps"}));
}

TEST(BadConfig, SizesThatDoNotFitNameTheNearestThatDo) {
  EXPECT_TRUE(fails(plan_with({"micro_batch_size=5"}), 2,
                    {"micro_batch_size=5 does not divide global_batch_size=36", "4 and 6"}));
  EXPECT_TRUE(fails(plan_with({"model.hidden_size=22"}), 2,
                    {"model.hidden_size=22 is not a multiple of model.num_heads=5", "20 or 25"}));
  EXPECT_TRUE(fails(plan_with({"model.input_size=7"}), 2, {"model.input_size=7", "model.patch_size=2", "6 or 8"}));
}

TEST(BadConfig, EveryOddSettingIsRefusedWithoutAnAbort) {
  for (const char* set : {"steps=0",
                          "global_batch_size=-1",
                          "micro_batch_size=0",
                          "model.depth=0",
                          "model.hidden_size=4294967296",
                          "model.hidden_size=1000000",
                          "model.depth=1000000000",
                          "model.mlp_ratio=1e300",
                          "model.mlp_ratio=nan",
                          "model.label_dropout=1",
                          "model.input_size=1000000",
                          "model.num_classes=-3",
                          "diffusion.timesteps=0",
                          "diffusion.timesteps=1000000000000",
                          "diffusion.beta_start=0.5",
                          "diffusion.sigma_min=1",
                          "data.path=/nowhere",
                          "data.threads=0",
                          "data.threads=1000000",
                          "data.images=0",
                          "optimizer.lr=0",
                          "optimizer.lr=inf",
                          "optimizer.beta1=1",
                          "optimizer.eps=0",
                          "optimizer.grad_clip=-1",
                          "ema[0].decay=0.5",
                          "ema[0].name=none",
                          "ema[1].name=slow",
                          "ema[2].name=third",
                          "ema[7].decay=0.5",
                          "ema.decay=0.5",
                          "parallel.zero_stage=4",
                          "parallel.replicate_group=2",
                          "parallel.fold_group=0",
                          "precision.compute=tf32",
                          "precision.reduce=tf32",
                          "checkpoint.keep_last=-1",
                          "checkpoint.keep_last=4294967296",
                          "sample.steps=101",
                          "sample.steps=0",
                          "sample.cfg=-1",
                          "sample.cfg_channels=4",
                          "sample.cfg_schedule=linear",
                          "sample.ema=other",
                          "sample.sampler=heun",
                          "sample.batch=0",
                          "sample.num=9223372036854775807",
                          "validation.images=9223372036854775807",
                          "sample.cfg_schedule=\"power-cosine",
                          "validation.bins=0",
                          "validation.bins=1000000000000",
                          "seed=-1",
                          "seed",
                          "=1",
                          "model=1",
                          "seed.x=1",
                          "ema[=1",
                          "ema[x].decay=1",
                          "seed[0]=1",
                          "..=1"})
    EXPECT_TRUE(fails(plan_with({set}), 2, {})) << set;
  EXPECT_TRUE(fails(plan_with({"global_batch_size=2147483647", "micro_batch_size=2"}), 2, {"does not divide"}));
}

TEST(BadConfig, FilesThatAreNoConfigAreRefused) {
  const TestFolder folder;
  EXPECT_TRUE(fails(run({"plan", folder / "absent.textproto"}), 2, {"absent.textproto", "does not exist"}));
  EXPECT_TRUE(fails(run({"plan", folder.path.string()}), 2, {"is a folder"}));
  EXPECT_TRUE(fails(plan_of_text(std::string("\0\1\2\xff\xfe junk", 10)), 2, {"run.textproto:1"}));
  EXPECT_TRUE(fails(plan_of_text("model { depth: 2 "), 2, {"run.textproto"}));
  EXPECT_TRUE(fails(plan_of_text("model { depth: 2 depth: 3 }"), 2, {"model.depth is given twice"}));
  EXPECT_TRUE(fails(plan_of_text(""), 2, {"data.path is missing"}));
}

TEST(BadFlag, IsNamedWithTheNearestRealOne) {
  EXPECT_TRUE(fails(run({"trian"}), 2, {"unknown command 'shardit trian'", "did you mean train?"}));
  EXPECT_TRUE(fails(run({}), 2, {"train"}));
  EXPECT_TRUE(fails(run({"train", tiny_config(), "--run-dri", "x"}), 2, {"--run-dri", "did you mean --run-dir?"}));
  EXPECT_TRUE(fails(run({"train"}), 2, {"CONFIG"}));
  EXPECT_TRUE(fails(run({"train", tiny_config(), "--steps", "many"}), 2, {"--steps"}));
  EXPECT_TRUE(fails(run({"train", tiny_config(), "--steps", "0"}), 2, {"--steps"}));
  EXPECT_TRUE(fails(run({"train", tiny_config(), "--resume", "latest"}), 2, {"expected auto, none or a step"}));
  EXPECT_TRUE(fails(run({"train", tiny_config(), "--stop-after", "soon"}), 2, {"expected a duration like 3h50m"}));
  EXPECT_TRUE(fails(run({"checkpoint", "look", "x"}), 2, {"unknown command 'shardit checkpoint look'"}));
  EXPECT_TRUE(fails(run({"plan", tiny_config(), "--ranks", "0"}), 2, {"--ranks"}));
  EXPECT_TRUE(fails(run({"plan", tiny_config(), "--ranks", "4,5"}), 2,
                    {"5 ranks do not divide the step's 12 micro-batches", "start 1, 2, 3, 4, 6, 12 ranks"}));
  EXPECT_TRUE(fails(run({"plan", tiny_config(), "--ranks", "2", "--set", "parallel.zero_stage=3", "--set",
                         "parallel.prefetch_bytes=4096"}),
                    2, {"parallel.prefetch_bytes=4096 is too small", "use at least that"}));
  EXPECT_TRUE(fails(run({"plan", tiny_config(), "--ranks", "4", "--set", "parallel.replicate_group=3"}), 2,
                    {"parallel.replicate_group=3 does not divide the 4 ranks"}));
  EXPECT_TRUE(fails(run({"plan", tiny_config(), "--ranks", "x"}), 2, {"--ranks"}));
}

TEST(Flag, MayStandBeforeTheConfigAndTakesOneValue) {
  for (const Words& words : std::vector<Words>{{"plan", "--set", "seed=1", tiny_config(), "--set", "steps=9", "--json"},
                                               {"plan", "--ranks", "2,3", tiny_config(), "--json"},
                                               {"plan", "--ranks=2", "--ranks", "3", tiny_config(), "--json"}})
    EXPECT_TRUE(succeeds(run(words)));
}

TEST(BadFlag, ANumberThatIsNoneSaysWhatIsExpected) {
  for (const std::string value : {"x", "0", "-3", "99999999999999999999", "0x"})
    EXPECT_TRUE(fails(run({"train", tiny_config(), "--steps", value}), 2,
                      {"shardit train: --steps: got '" + value + "', expected a whole number above 0; see "}));
  EXPECT_TRUE(fails(run({"checkpoint", "diff", "a", "b", "--tolerance", "nan"}), 2, {"expected a number, 0 or more"}));
  EXPECT_TRUE(fails(run({"launch", "--", "mpirun", "-np", "2", "shardit", "train", tiny_config(), "--steps", "0"}), 2,
                    {"--steps: got '0', expected a whole number above 0"}));
}

TEST(BadFlag, AFlagIsNeverTakenForTheValueOfAnother) {
  EXPECT_TRUE(
      fails(run({"train", tiny_config(), "--run-dir=", "--override-arithmetic"}), 2, {"--run-dir= has no value"}));
  EXPECT_TRUE(fails(run({"train", tiny_config(), "--run-dir", "--override-arithmetic"}), 2,
                    {"--run-dir: got --override-arithmetic, which is a flag"}));
  for (const char* flag : {"--run-dir", "--stop-after", "--trace-steps", "--dump-graph", "--device", "--set"})
    EXPECT_TRUE(fails(run({"train", tiny_config(), flag, ""}), 2, {flag, "got an empty value"}));
}

TEST(BadFlag, TheHelpOfACommandThatIsNotThereIsAMistakeToo) {
  EXPECT_TRUE(fails(run({"trian", "--help"}), 2, {"unknown command 'shardit trian'", "did you mean train?"}));
  EXPECT_TRUE(fails(run({"checkpoint", "dif", "--help"}), 2, {"did you mean diff?"}));
}

TEST(BadPlace, AResultThatCannotBePrintedIsAnIoError) {
  const TestFolder folder;
  const Surroundings full{.wrapper = {"sh", "-c", "exec \"$@\" >/dev/full", "sh"}};
  for (const Words& command : {Words{"plan", tiny_config(), "--json"},
                               {"doctor"},
                               {"doctor", "--json"},
                               {"bench", "step", tiny_config(), "--steps", "1"},
                               {"bench", "checkpoint", tiny_config(), "--dir", folder.path.string()}})
    EXPECT_TRUE(fails(run(command, full), 4, {"standard output", "not complete"})) << command[0];
  const Surroundings head{.wrapper = {"sh", "-c", "{ sleep 0.3; \"$@\"; } | true", "sh"}};
  EXPECT_TRUE(succeeds(run({"plan", tiny_config(), "--json"}, head))) << "a reader may leave";
}

TEST(BadFlag, ANumberOfThreadsThatIsNoneIsRefused) {
  for (const std::string threads : {"0", "-2", "two", "1e9"}) {
    const Ran ran = run({"plan", tiny_config()}, {.environment = {{"OMP_NUM_THREADS", threads}}});
    EXPECT_EQ(ran.code, 2);
    EXPECT_TRUE(contains(ran.err, "shardit: OMP_NUM_THREADS is '" + threads + "'")) << "libgomp may speak before";
  }
}

// --- data ---

struct IdxFolder : TestFolder {
  IdxFolder() {
    gzip("train-images-idx3-ubyte.gz", header({40, 8, 8}) + std::string(40 * 64, '\x55'));
    gzip("train-labels-idx1-ubyte.gz", header({40}) + std::string(40, '\1'));
  }

  static std::string header(const std::vector<uint32_t>& extents) {
    std::string bytes = {0, 0, 8, static_cast<char>(extents.size())};
    for (uint32_t extent : extents)
      for (int shift : {24, 16, 8, 0}) bytes += static_cast<char>(extent >> shift & 255);
    return bytes;
  }
  void gzip(const std::string& name, const std::string& bytes) const {
    const gzFile file = gzopen((*this / name).c_str(), "wb");
    gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(file);
  }
  Ran train_on_it(const Words& sets = {}) const {
    Words words = {"--set",   "data.kind=idx",
                   "--set",   "data.images=",
                   "--set",   "data.path=" + path.string(),
                   "--set",   "model.input_size=8",
                   "--set",   "model.in_channels=1",
                   "--set",   "validation.every_steps=0",
                   "--steps", "1"};
    for (const std::string& set : sets) words.insert(words.end(), {"--set", set});
    return train(*this / "run", words);
  }
  std::string images() const { return *this / "train-images-idx3-ubyte.gz"; }
};

TEST(BadData, GoodFilesTrain) { EXPECT_TRUE(succeeds(IdxFolder().train_on_it())); }

TEST(BadData, MissingFilesAreNamed) {
  const IdxFolder folder;
  std::filesystem::remove(folder.images());
  EXPECT_TRUE(fails(folder.train_on_it(), 2, {"no data file", "train-images-idx3-ubyte"}));
  EXPECT_FALSE(exists(folder / "run/checkpoints")) << "nothing is started";
}

TEST(BadData, AGzipFileCutShortIsCorruptData) {
  const IdxFolder folder;
  const std::string bytes = bytes_of_file(folder.images());
  for (size_t keep : {bytes.size() - 1, bytes.size() / 2, size_t{12}}) {
    write_bytes(folder.images(), bytes.substr(0, keep));
    EXPECT_TRUE(fails(folder.train_on_it(), 4, {"train-images-idx3-ubyte.gz", "cut short"})) << keep;
  }
}

TEST(BadData, JunkAndLyingHeadersAreCorruptData) {
  const IdxFolder folder;
  write_bytes(folder.images(), "this is no picture at all");
  EXPECT_TRUE(fails(folder.train_on_it(), 4, {"train-images-idx3-ubyte.gz"}));
  write_bytes(folder.images(), "");
  EXPECT_TRUE(fails(folder.train_on_it(), 4, {"train-images-idx3-ubyte.gz"}));
  folder.gzip("train-images-idx3-ubyte.gz", IdxFolder::header({0xffffffff, 0xffffffff, 0xffffffff}) + "abc");
  EXPECT_TRUE(fails(folder.train_on_it(), 4, {"says it holds"}));
}

TEST(BadData, OtherImagesUnderTheSameNameAreNoResume) {
  const IdxFolder folder;
  ASSERT_TRUE(succeeds(folder.train_on_it()));
  folder.gzip("train-images-idx3-ubyte.gz", IdxFolder::header({40, 8, 8}) + std::string(40 * 64, '\x56'));
  EXPECT_TRUE(fails(folder.train_on_it(), 2, {"the training data: saved idx", "now idx", "--override-arithmetic"}));
}

TEST(BadData, ThatDoesNotFitTheModelIsTheUsersMistake) {
  const IdxFolder folder;
  EXPECT_TRUE(fails(folder.train_on_it({"model.input_size=10"}), 2, {"8x8x1", "10x10x1"}));
  EXPECT_TRUE(fails(folder.train_on_it({"model.num_classes=1"}), 2, {"label 1", "classes"}));
}

TEST(BadPlace, ARunDirectoryThatCannotBeWrittenIsAnIoError) {
  const TestFolder folder;
  folder.write("file", "in the way");
  EXPECT_TRUE(fails(train(folder / "file"), 4, {"cannot create", "--run-dir"}));
  const int nobody = 65534;
  ASSERT_EQ(chmod(folder.path.c_str(), 0555), 0);
  const Surroundings surroundings{.user = geteuid() == 0 ? nobody : 0};
  if (run({"--help"}, surroundings).code != 0) GTEST_SKIP() << "another user cannot run the program from here";
  EXPECT_TRUE(fails(train(folder / "run", {}, surroundings), 4, {"cannot create", "Permission denied"}));
  std::filesystem::create_directories(folder.path);
  chmod(folder.path.c_str(), 0755);
  std::filesystem::create_directories(folder / "run/samples");
  EXPECT_TRUE(geteuid() != 0 || fails(train(folder / "run", {}, surroundings), 4, {"Permission denied"}));
}

TEST(BadPlace, TwoRunsNeverShareARunDirectory) {
  const TestFolder folder;
  const Started first(training(folder / "run", {"--set", "steps=100000", "--set", "checkpoint.every_steps=0"}));
  ASSERT_TRUE(wait_for_steps(folder / "run", 1));
  const Ran second = train(folder / "run");
  EXPECT_TRUE(fails(second, 2, {"another run is using", "--run-dir"}));
}

}  // namespace
}  // namespace shardit
