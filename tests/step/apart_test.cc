// Whole runs on a device with queues and memory of its own, as a GPU has: the launcher reaches nothing that it must
// not, forgets no copy, and the bits are the CPU's.
#include <gtest/gtest.h>

#include <fstream>

#include "checkpoints/directory.h"
#include "core/error.h"
#include "launcher/metrics.h"
#include "launcher/run_device.h"
#include "launcher/trainer.h"
#include "tests/core/queue_device.h"
#include "tests/launcher/alone.h"
#include "tests/launcher/test_folder.h"
#include "tests/step/tiny_run.h"

namespace shardit {
namespace {

enum class On { kCpu, kApart };

struct Outcome {
  std::string digest;
  std::vector<double> losses, validation;
  std::vector<std::string> proofs;
  std::string picture;
  bool operator==(const Outcome&) const = default;
};

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A run that is stopped after each of these steps, and then goes to its end.
Outcome outcome_of(const RunConfig& config, On on, const std::vector<int64_t>& stops) {
  const TestFolder folder;
  TrainOptions options{.run_dir = folder / "run"};
  uint64_t seed = 0;
  if (on == On::kApart)
    options.open_device = [&] { return std::make_unique<test::QueueDevice>(++seed, test::Memory::kApart); };
  for (int64_t stop : stops) {
    options.steps = stop;
    EXPECT_EQ(train_alone(config, options), 0);
  }
  PosixFiles files;
  Outcome outcome{.digest = find_newest(files, folder / "run").checkpoint->manifest.root.hex()};
  const MetricsFile metrics = read_metrics(folder / "run/metrics.jsonl");
  for (const StepMetrics& step : metrics.steps) outcome.losses.push_back(step.loss);
  for (const Json& event : metrics.events) {
    if (event["event"] == "validation") outcome.validation.push_back(event["loss"]);
    if (event["event"] == "resume") outcome.proofs.push_back(event["proof"]);
    if (event["event"] == "sample") outcome.picture = content(folder / "run/" + event["path"].get<std::string>());
  }
  return outcome;
}

const std::vector<std::string> kEverything = {"validation.every_steps=2", "validation.images=6",
                                              "sample.every_steps=3",     "sample.num=3",
                                              "sample.batch=2",           "data.flip=true"};

RunConfig config_of(std::vector<std::string> sets) {
  sets.insert(sets.end(), kEverything.begin(), kEverything.end());
  return test::tiny_config(sets);
}

TEST(ApartDevice, TrainsSavesResumesValidatesAndSamplesWithTheBitsOfTheCpu) {
  for (const auto& sets : {std::vector<std::string>{}, test::kDdpmInBf16, test::kEdmInBf16}) {
    const RunConfig config = config_of(sets);
    const Outcome cpu = outcome_of(config, On::kCpu, {1, 4, 6});
    EXPECT_EQ(cpu.losses.size(), 6u);
    EXPECT_EQ(cpu.validation.size(), 4u) << "at steps 1, 2, 4 and 6";
    EXPECT_EQ(cpu.proofs.size(), 2u);
    for (const std::string& proof : cpu.proofs) EXPECT_TRUE(proof.starts_with("holds bitwise")) << proof;
    EXPECT_FALSE(cpu.picture.empty());
    EXPECT_EQ(outcome_of(config, On::kApart, {1, 4, 6}), cpu);
  }
}

// The copies on the host are what a save writes while the next steps run.
TEST(ApartDevice, SavesWhileItTrains) {
  for (const char* async : {"checkpoint.async=true", "checkpoint.async=false"}) {
    const RunConfig config = config_of({async, "checkpoint.every_steps=1"});
    EXPECT_EQ(outcome_of(config, On::kApart, {3, 6}), outcome_of(config, On::kCpu, {3, 6})) << async;
  }
}

TEST(ApartDevice, PlansItsCopiesAndNoSnapshot) {
  const RunConfig config = config_of({"checkpoint.async=true"});
  const RunSetup setup = make_setup(config);
  Target apart;
  apart.copied_on_host = copied_on_host;
  const auto plan = [&](const Target& target) {
    return compile_run(setup, run_program_options(config, setup, target), target).memory;
  };
  const int64_t state = 4 * setup.layout.elements() * static_cast<int64_t>(state_kinds(setup).size());
  auto here = plan(Target()).bytes_by_class(), there = plan(apart).bytes_by_class();
  EXPECT_EQ(here[BufferClass::kStaging] - there[BufferClass::kStaging], state);
  EXPECT_GT(there[BufferClass::kHostCopies], state);
  EXPECT_LT(there[BufferClass::kHostCopies], state + 32768) << "and the batches";
  EXPECT_FALSE(here.contains(BufferClass::kHostCopies));
}

TEST(ApartDevice, NamesTheFirstValueThatIsNotFinite) {
  const auto error = [](On on) -> std::string {
    try {
      outcome_of(config_of({"optimizer.lr=1e30"}), on, {6});
    } catch (const StopError& stopped) {
      return stopped.what();
    }
    return "no error";
  };
  EXPECT_NE(error(On::kCpu).find("the first such value is at"), std::string::npos);
  EXPECT_EQ(error(On::kApart), error(On::kCpu));
}

}  // namespace
}  // namespace shardit
