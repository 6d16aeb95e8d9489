#include "launcher/command_line.h"

#include <gtest/gtest.h>

#include <memory>
#include <sstream>

#include "core/error.h"
#include "launcher/commands/commands.h"
#include "launcher/machine.h"
#include "tests/launcher/test_folder.h"

namespace shardit {
namespace {

Handler body;  // what `shardit work` runs in these tests

void add_work_command(CLI::App& app, Handler& chosen) {
  CLI::App* command = add_subcommand(app, "work", "Works", "shardit work --steps 3");
  auto steps = std::make_shared<int>(250);
  command->add_option("--steps", *steps, "How many");
  command->callback([steps, &chosen] { chosen = [steps] { return *steps == 250 ? body() : *steps; }; });
}

struct Outcome {
  int code;
  std::string out, err;
};

Outcome run(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  const int code = run_command_line(arguments, {add_work_command, add_report_command, add_doctor_command}, out, err);
  return {code, out.str(), err.str()};
}

Outcome run_body(Handler handler) {
  body = std::move(handler);
  return run({"work"});
}

TEST(CommandLine, HelpAtEveryLevelShowsDefaultsAndExamples) {
  EXPECT_EQ(run({"--help"}).code, 0);
  EXPECT_NE(run({"--help"}).out.find("report"), std::string::npos);
  const Outcome help = run({"work", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_NE(help.out.find("250"), std::string::npos) << help.out;
  EXPECT_NE(help.out.find("shardit work --steps 3"), std::string::npos);
  EXPECT_TRUE(help.err.empty());
}

TEST(CommandLine, HelpShowsDefaultsOnlyWhereTheyMeanSomething) {
  const std::string help = [] {
    std::ostringstream out, err;
    run_command_line({"checkpoint", "prune", "--help"}, {add_checkpoint_command}, out, err);
    return out.str();
  }();
  EXPECT_EQ(help.find("=0 REQUIRED"), std::string::npos) << help;
  EXPECT_NE(help.find("shardit checkpoint prune runs/demo"), std::string::npos) << "an example of its own: " << help;
  EXPECT_EQ(run({"work", "--help"}).out.find("=[]"), std::string::npos);
}

TEST(CommandLine, ReturnsTheHandlersCode) {
  EXPECT_EQ(run_body([] { return 1; }).code, 1);
  EXPECT_EQ(run({"work", "--steps", "6"}).code, 6);
}

TEST(CommandLine, AnUnknownFlagNamesTheNearest) {
  const Outcome outcome = run({"work", "--step", "5"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.err, "shardit: unknown flag --step of 'shardit work': did you mean --steps?\n");
  EXPECT_EQ(run({"doctor", "--gpu"}).err, "shardit: unknown flag --gpu of 'shardit doctor': did you mean --gpus?\n");
  EXPECT_EQ(run({"work", "--stpes=5"}).err, "shardit: unknown flag --stpes of 'shardit work': did you mean --steps?\n");
  EXPECT_EQ(run({"--verbos"}).err, "shardit: unknown flag --verbos of 'shardit': see shardit --help\n");
}

TEST(CommandLine, AnUnknownCommandNamesTheNearest) {
  const Outcome outcome = run({"wrok"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.err, "shardit: unknown command 'shardit wrok': did you mean work?\n");
  EXPECT_EQ(run({"xyzzy"}).err, "shardit: unknown command 'shardit xyzzy': there are work, report and doctor\n");
}

TEST(CommandLine, ABareCallListsTheCommands) {
  const Outcome outcome = run({});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.err, "shardit: 'shardit' needs a command: work, report or doctor; see --help\n");
}

TEST(CommandLine, AMissingOrExtraWordIsTheUsersMistake) {
  EXPECT_EQ(run({"report"}).code, 2);
  EXPECT_EQ(run({"report"}).err, "shardit: shardit report: RUN_DIR is required; see shardit report --help\n");
  EXPECT_EQ(run({"work", "extra"}).err,
            "shardit: unexpected word 'extra' after 'shardit work': see shardit work --help\n");
  const Outcome wrong_type = run({"work", "--steps", "many"});
  EXPECT_EQ(wrong_type.code, 2);
  EXPECT_NE(wrong_type.err.find("many"), std::string::npos) << wrong_type.err;
}

TEST(CommandLine, EachKindOfErrorHasItsExitCode) {
  EXPECT_EQ(run_body([]() -> int { throw UserError("u"); }).code, 2);
  EXPECT_EQ(run_body([]() -> int { throw DeviceError("d"); }).code, 3);
  EXPECT_EQ(run_body([]() -> int { throw CommError("c"); }).code, 3);
  EXPECT_EQ(run_body([]() -> int { throw IoError("i"); }).code, 4);
  EXPECT_EQ(run_body([]() -> int { throw StopError("s"); }).code, 5);
  EXPECT_EQ(run_body([]() -> int { throw std::bad_alloc(); }).code, 3);
  const Outcome bug = run_body([]() -> int { throw std::logic_error("vector"); });
  EXPECT_GT(bug.code, 6);
  EXPECT_EQ(bug.err, "shardit: internal error: vector\n  this is a bug in shardit; please report it\n");
}

TEST(CommandLine, AnErrorIsAtMostThreeLines) {
  const Outcome outcome = run_body([]() -> int { throw IoError("one\ntwo\nthree\nfour\nfive"); });
  EXPECT_EQ(outcome.err, "shardit: one\n  two\n  three\n");
}

TEST(CommandLine, RanksSayWhoTheyAreAndSharedMistakesAreSaidOnce) {
  setenv("OMPI_COMM_WORLD_RANK", "3", 1);
  setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
  const Outcome disk = run_body([]() -> int { throw IoError("disk"); });
  const Outcome user = run_body([]() -> int { throw UserError("config"); });
  const Outcome flag = run({"work", "--step"});
  unsetenv("OMPI_COMM_WORLD_RANK");
  unsetenv("OMPI_COMM_WORLD_SIZE");
  EXPECT_EQ(disk.err, "shardit, rank 3: disk\n");
  EXPECT_EQ(user.err + flag.err, "");
  EXPECT_EQ(user.code, 2);
  EXPECT_EQ(flag.code, 2);
}

TEST(Doctor, SaysThatNoGpuCanBeUsedInABuildWithoutCuda) {
  if (build_facts().cuda) GTEST_SKIP() << "this build has CUDA";
  testing::internal::CaptureStdout();
  const Outcome outcome = run({"doctor", "--gpus"});
  const std::string printed = testing::internal::GetCapturedStdout();
  EXPECT_EQ(outcome.code, 3);
  EXPECT_EQ(outcome.err, "shardit: no GPU can be used: this build has no CUDA\n");
  EXPECT_NE(printed.find("oneDNN "), std::string::npos);
}

TEST(Doctor, JsonCarriesUnits) {
  const auto json = machine_json(".");
  EXPECT_GT(json.at("memory_bytes").get<int64_t>(), int64_t{1} << 28);
  EXPECT_GE(json.at("memory_bytes").get<int64_t>(), json.at("available_bytes").get<int64_t>());
  EXPECT_GE(json.at("cores").get<int>(), 1);
  EXPECT_GT(json.at("disk_free_bytes").get<int64_t>(), 0);
  EXPECT_TRUE(json.at("missing_features").empty()) << "this very test was compiled for this CPU";
}

}  // namespace
}  // namespace shardit
