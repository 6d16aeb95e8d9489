// `shardit launch` with a real mpirun: what is restarted and what is not, signals, fewer ranks.
#include <signal.h>

#include <chrono>
#include <random>
#include <thread>

#include "tests/cli/program.h"

namespace shardit {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// More ranks than cores, as root too, in the shape of the real command.
struct Job {
  std::string run;
  int ranks = 2;
  Words launch = {}, train = {};
  std::string program = SHARDIT_PROGRAM;
  std::map<std::string, std::string> environment = {};

  Words words() const {
    Words all = {"launch"};
    all.insert(all.end(), launch.begin(), launch.end());
    all.insert(all.end(), {"--", "mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
                           "-np", std::to_string(ranks), program});
    const Words training_words = training(run, train);
    all.insert(all.end(), training_words.begin(), training_words.end());
    return all;
  }
  Surroundings surroundings() const {
    Surroundings s{.environment = environment};
    s.environment.insert({{"OMPI_ALLOW_RUN_AS_ROOT", "1"}, {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}});
    return s;
  }
  Ran launched() const { return shardit::run(words(), surroundings()); }
};

// A run of seconds, with a checkpoint every 20 steps.
Words long_run(int steps = 800) {
  return {"--set", "steps=" + std::to_string(steps), "--set", "checkpoint.every_steps=20",
          "--set", "validation.every_steps=0",       "--set", "parallel.zero_stage=2"};
}

std::vector<int> ranks_of(const Started& launch) {
  const std::vector<int> mpirun = launch.ranks();
  return mpirun.empty() ? mpirun : children_of(mpirun[0]);
}

void kill_rank(const Started& launch, size_t rank) {
  const std::vector<int> ranks = ranks_of(launch);
  ASSERT_GT(ranks.size(), rank);
  kill(ranks[rank], SIGKILL);
}

std::string write_program(const TestFolder& folder, const std::string& name, const std::string& text) {
  folder.write(name, "#!/bin/bash\n" + text + "\n");
  std::filesystem::permissions(folder / name, std::filesystem::perms::owner_all);
  return folder / name;
}

// A program that stands in front of the real one.
std::string script(const TestFolder& folder, const std::string& before) {
  return write_program(folder, "program", before + "\nexec " SHARDIT_PROGRAM " \"$@\"");
}

TEST(Launch, RestartsAfterALostRankAndEndsWithTheWeightsOfAnUndisturbedRun) {
  const std::string undisturbed = digest_after(long_run());
  std::mt19937 random(std::random_device{}());
  for (size_t victim : {0, 1}) {
    const TestFolder folder;
    Words flags = long_run();
    flags.insert(flags.end(), {"--resume", "none"});  // for the first start only
    const Job job{.run = folder / "run", .train = flags};
    Started launch(job.words(), job.surroundings());
    ASSERT_TRUE(wait_for_steps(job.run, 25));
    const int ms = static_cast<int>(random() % 600);
    std::this_thread::sleep_for(milliseconds(ms));
    kill_rank(launch, victim);
    const Ran ran = launch.wait();
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_TRUE(contains(ran.err, "restart 1 of 3 on 2 ranks, from step ")) << "killed after " << ms << " ms";
    EXPECT_EQ(digest_of(job.run), undisturbed) << "rank " << victim << " killed after " << ms << " ms";
    EXPECT_EQ(steps_logged(job.run), 800);
  }
}

// Its ranks end by themselves, and hold the run's lock until then.
TEST(Launch, RestartsAfterMpirunItselfWasKilled) {
  const TestFolder folder;
  const Job job{.run = folder / "run", .train = long_run()};
  Started launch(job.words(), job.surroundings());
  ASSERT_TRUE(wait_for_steps(job.run, 25));
  kill(launch.ranks().at(0), SIGKILL);
  const Ran ran = launch.wait();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(
      contains(ran.err, "code 137 (mpirun itself was ended by SIGKILL); restart 1 of 3 on 2 ranks, from step "));
  EXPECT_EQ(digest_of(job.run), digest_after(long_run()));
}

TEST(Launch, WithoutRestartsPassesTheCodeOn) {
  const TestFolder folder;
  const Job job{.run = folder / "run", .launch = {"--max-restarts", "0"}, .train = long_run(1000000)};
  Started launch(job.words(), job.surroundings());
  ASSERT_TRUE(wait_for_steps(job.run, 5));
  kill_rank(launch, 1);
  const Ran ran = launch.wait();
  EXPECT_EQ(ran.code, 128 + SIGKILL) << ran.err;
  EXPECT_EQ(ran.err.find("launch: "), std::string::npos) << ran.err;
}

TEST(Launch, ShrinksToFewerRanksUntilTheJobHolds) {
  const TestFolder folder;
  const std::string saved = checkpoint_path(folder / "run", 20);
  const std::string program =
      script(folder, "if [ $OMPI_COMM_WORLD_SIZE = 2 -a $OMPI_COMM_WORLD_RANK = 1 ]; then (until [ -e '" + saved +
                         "' ]; do sleep 0.1; done; kill -KILL $$) & fi");
  const Job job{.run = folder / "run", .launch = {"--shrink"}, .train = long_run(), .program = program};
  const Ran ran = job.launched();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.err, "code 137 (a rank ended by SIGKILL); restart 1 of 3 on 1 rank, from step "));
  EXPECT_TRUE(contains(ran.out, "resume proof holds bitwise"));
  EXPECT_EQ(digest_of(job.run), digest_after(long_run()));
}

// Twelve micro-batches: 5 ranks, and 4 where there are 3 replicas, would be refused.
TEST(Launch, ShrinksToANumberThatDividesTheMicroBatches) {
  const TestFolder folder;
  const std::string program = script(folder, "if [ $OMPI_COMM_WORLD_SIZE -gt 3 ]; then kill -KILL $$; fi");
  Job job{.run = folder / "run", .ranks = 6, .launch = {"--shrink"}, .train = {"--steps", "4"}, .program = program};
  const Ran ran = job.launched();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.err, "restart 1 of 3 on 4 ranks, from step 0, in 1 s"));
  EXPECT_TRUE(contains(ran.err, "restart 2 of 3 on 3 ranks, from step 0, in 2 s"));
  const TestFolder other;
  job.run = other / "run";
  job.train.insert(job.train.end(), {"--set", "parallel.replicate_group=3"});
  EXPECT_TRUE(contains(job.launched().err, "restart 1 of 3 on 3 ranks"));
}

TEST(Launch, DoesNotRestartWhatARestartCannotHeal) {
  const TestFolder folder;
  const auto ends = [&](int code, const Job& job) {
    const Ran ran = job.launched();
    EXPECT_EQ(ran.code, code) << ran.err;
    EXPECT_EQ(ran.err.find("restart"), std::string::npos) << ran.err;
  };
  ends(2, {.run = folder / "a", .ranks = 5});
  ends(5, {.run = folder / "b", .train = {"--set", "optimizer.lr=1e30"}});
  ASSERT_TRUE(succeeds(train(folder / "c", {"--steps", "2"})));
  write_bytes(checkpoint_path(folder / "c", 2) + "/manifest.pb", "junk");
  ends(4, {.run = folder / "c"});
  ends(0, {.run = folder / "d", .train = {"--steps", "2"}});
}

TEST(Launch, WhatMpirunCannotStartIsNotRestarted) {
  const TestFolder folder;
  Job job{.run = folder / "run", .program = "/no/such/program"};
  Ran ran = job.launched();
  EXPECT_NE(ran.code, 0);
  EXPECT_EQ(ran.err.find("launch: "), std::string::npos) << ran.err;
}

TEST(Launch, WaitsLongerWhereNoCheckpointIsMade) {
  const TestFolder folder;
  const Job job{.run = folder / "run", .launch = {"--max-restarts", "2"}, .program = script(folder, "kill -KILL $$")};
  const Clock::time_point begin = Clock::now();
  const Ran ran = job.launched();
  EXPECT_EQ(ran.code, 128 + SIGKILL) << ran.err;
  EXPECT_GE(Clock::now() - begin, milliseconds(3000)) << "1 s and 2 s";
  EXPECT_TRUE(contains(ran.err, "restart 1 of 2 on 2 ranks, from step 0, in 1 s\n"));
  EXPECT_TRUE(contains(ran.err, "restart 2 of 2 on 2 ranks, from step 0, in 2 s: no new checkpoint since the failure"));
  EXPECT_TRUE(contains(ran.err, "after 2 restarts: --max-restarts is reached"));
}

// mpirun alone kills its ranks two seconds after a SIGTERM; this save takes longer.
Job with_slow_saves(const std::string& run) {
  return {.run = run,
          .train = {"--set", "steps=1000000", "--set", "checkpoint.every_steps=0", "--set", "parallel.zero_stage=2"},
          .environment = {{"LD_PRELOAD", SLOW_DISK}, {"ASAN_OPTIONS", "verify_asan_link_order=0"}}};
}

TEST(Launch, ASignalLetsASlowSaveFinish) {
  const TestFolder folder;
  const Job job = with_slow_saves(folder / "run");
  Started launch(job.words(), job.surroundings());
  ASSERT_TRUE(wait_for_steps(job.run, 5));
  const Clock::time_point begin = Clock::now();
  launch.send(SIGTERM);
  const Ran ran = launch.wait();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_GE(Clock::now() - begin, milliseconds(3000)) << "the disk was not slow";
  EXPECT_TRUE(contains(ran.err, "launch: SIGTERM: the ranks finish their step, save and stop"));
  EXPECT_TRUE(contains(ran.out, "after saving; the same command continues"));
  const int stopped = steps_logged(job.run);
  EXPECT_TRUE(exists(checkpoint_path(job.run, stopped))) << "the step of the signal";
  const Words more = {
      "--set", "steps=1000000", "--set", "checkpoint.every_steps=0", "--steps", std::to_string(stopped + 5)};
  EXPECT_TRUE(succeeds(train(job.run, more)));
  EXPECT_EQ(digest_of(job.run), digest_after(more));
}

TEST(Launch, EverySignalSavesAndEndsTheJob) {
  for (int signal_number : {SIGINT, SIGUSR1}) {
    const TestFolder folder;
    const Job job{.run = folder / "run", .train = {"--set", "steps=1000000", "--set", "checkpoint.every_steps=0"}};
    Started launch(job.words(), job.surroundings());
    ASSERT_TRUE(wait_for_steps(job.run, 5));
    launch.send(signal_number);
    const Ran ran = launch.wait();
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_TRUE(exists(checkpoint_path(job.run, steps_logged(job.run)))) << strsignal(signal_number);
  }
}

// A rank that does not hear signals yet has nothing to save.
TEST(Launch, ASignalWhileTheJobStartsEndsItToo) {
  for (int ms : {0, 20, 40, 60, 80, 100, 120, 150, 200, 250, 300, 400}) {
    const TestFolder folder;
    const Job job{.run = folder / "run", .train = {"--set", "steps=1000000"}};
    Started launch(job.words(), job.surroundings());
    while (launch.running() && launch.ranks().empty()) std::this_thread::sleep_for(milliseconds(1));
    std::this_thread::sleep_for(milliseconds(ms));
    launch.send(SIGTERM);
    const Ran ran = launch.wait();
    EXPECT_EQ(ran.code, 0) << "after " << ms << " ms: " << ran.out << ran.err;
  }
}

// As Open MPI's does, seldom, when ranks die while they connect.
TEST(Launch, WhereMpirunCrashesWhileItStopsAJobThatHadBegunItIsAFailure) {
  for (const bool begins : {false, true}) {
    const TestFolder folder;
    const Job job{.run = folder / "run"};
    Words words = job.words();
    const std::string log = job.run + "/metrics.jsonl", ready = folder / "ready";
    *std::find(words.begin(), words.end(), "mpirun") =
        write_program(folder, "mpirun",
                      "ulimit -c 0\ntrap 'kill -SEGV $$' USR1\n" +
                          (begins ? "mkdir -p '" + job.run + "'; echo >'" + log + "'\n" : std::string()) + "echo >'" +
                          ready + "'\nwhile true; do sleep 0.02; done");
    Started launch(words, job.surroundings());
    while (launch.running() && !exists(ready)) std::this_thread::sleep_for(milliseconds(1));
    launch.send(SIGTERM);
    const Ran ran = launch.wait();
    EXPECT_EQ(ran.code, begins ? 128 + SIGSEGV : 0) << ran.err;
  }
}

TEST(Launch, ASecondSignalEndsAtOnce) {
  const TestFolder folder;
  const Job job = with_slow_saves(folder / "run");
  Started launch(job.words(), job.surroundings());
  ASSERT_TRUE(wait_for_steps(job.run, 5));
  launch.send(SIGTERM);
  std::this_thread::sleep_for(milliseconds(500));
  const Clock::time_point begin = Clock::now();
  launch.send(SIGTERM);
  const Ran ran = launch.wait();
  EXPECT_EQ(ran.code, 128 + SIGTERM) << ran.err;
  EXPECT_LT(Clock::now() - begin, milliseconds(4000)) << "mpirun takes two seconds";
  EXPECT_FALSE(exists(checkpoint_path(job.run, steps_logged(job.run)))) << "it was not awaited";
}

TEST(Launch, WhereItIsKilledItselfTheJobSavesAndEnds) {
  const TestFolder folder;
  const Job job{.run = folder / "run", .train = {"--set", "steps=1000000", "--set", "checkpoint.every_steps=0"}};
  std::vector<int> ranks;
  {
    Started launch(job.words(), job.surroundings());
    ASSERT_TRUE(wait_for_steps(job.run, 5));
    ranks = ranks_of(launch);
    launch.send(SIGKILL);
    launch.wait();
  }
  ASSERT_EQ(ranks.size(), 2u);
  for (int i = 0; i < 1000 && (kill(ranks[0], 0) == 0 || kill(ranks[1], 0) == 0); ++i)
    std::this_thread::sleep_for(milliseconds(20));
  for (int rank : ranks) EXPECT_NE(kill(rank, SIGKILL), 0) << "rank of process " << rank << " still ran";
  EXPECT_TRUE(exists(checkpoint_path(job.run, steps_logged(job.run))));
}

TEST(Launch, RefusesWhatItCannotRun) {
  const std::string config = tiny_config(), program = SHARDIT_PROGRAM;
  const auto refused = [&](Words words, const Words& parts) {
    words.insert(words.begin(), "launch");
    EXPECT_TRUE(fails(run(words), 2, parts));
  };
  refused({"--", "mpirnu", "-np", "2", program, "train", config}, {"got 'mpirnu'", "expected mpirun -np N"});
  refused({"--", "srun", program, "train", config}, {"got srun", "sbatch --requeue"});
  refused({"--", "mpirun", "-np", "2", program, "sample", config}, {"no 'train' in the command"});
  refused({"--", "mpirun", "-np", "2", program, "train", "nope.textproto"}, {"'nope.textproto' does not exist"});
  refused({"--", "mpirun", "-np", "2", program, "train", config, "--bogus"}, {"--bogus", "shardit train --help"});
  refused({"--", "mpirun", "-np", "1", program, "train", config, ":", "-np", "1", program, "train", config},
          {"got ':'"});
  refused({"--", "/no/such/mpirun", "-np", "2", program, "train", config}, {"cannot start '/no/such/mpirun'"});
  refused({"--share-gpu", "--", "mpirun", "-np", "2", program, "train", config, "--device", "cpu"},
          {"--share-gpu", BUILT_WITH_NCCL ? "device=cpu, on which ranks share no GPU" : "this build has no NCCL"});
  refused({"--shrink", "--", "mpirun", program, "train", config}, {"--shrink", "mpirun -np N"});
  refused({"--"}, {"COMMAND is required"});
}

}  // namespace
}  // namespace shardit
