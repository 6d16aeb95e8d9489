// docs/clusters.md without a cluster: its batch script with Slurm's variables set by hand, its manifest, and ranks that
// see what srun gives them.
#include <algorithm>
#include <thread>

#include "launcher/launch_command.h"
#include "tests/cli/program.h"

namespace shardit {
namespace {

// The block of the page that begins with this line, without its fence.
std::string block_of_the_page(const std::string& first_line) {
  const std::string page = bytes_of_file(std::string(SHARDIT_CHECKOUT) + "/docs/clusters.md");
  const size_t begin = page.find("\n" + first_line + "\n") + 1, end = page.find("\n```", begin);
  EXPECT_NE(begin, 0u) << first_line;
  return page.substr(begin, end - begin + 1);
}

std::string executable(const TestFolder& folder, const std::string& name, const std::string& text) {
  folder.write(name, text);
  std::filesystem::permissions(folder / name, std::filesystem::perms::owner_all);
  return folder / name;
}

int shell(const std::string& command) { return WEXITSTATUS(system(command.c_str())); }

std::string output_of(const std::string& command, const TestFolder& folder) {
  shell(command + " >" + folder / "shell.out" + " 2>&1");
  return folder.read("shell.out");
}

// mpirun as root on few cores, and `shardit` on the PATH.
std::string surroundings() {
  return "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1; PATH=" +
         std::filesystem::path(SHARDIT_PROGRAM).parent_path().string() + ":$PATH; ";
}

TEST(Slurm, TheBatchScriptOfThePageTrains) {
  const TestFolder folder;
  const int tasks = std::thread::hardware_concurrency() >= 2 ? 2 : 1;  // it binds each to a core
  const std::string script = executable(folder, "train.sbatch", block_of_the_page("#!/bin/bash"));
  const std::string slurm =
      "SLURM_JOB_ID=7 SLURM_JOBID=7 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NNODES=1 "
      "SLURM_CPUS_PER_TASK=1 SLURM_NODELIST=$(hostname) SLURM_NTASKS=" +
      std::to_string(tasks) + " SLURM_TASKS_PER_NODE=" + std::to_string(tasks) + " ";
  const std::string log =
      output_of(surroundings() + slurm + script + " " + tiny_config() + " " + folder / "run", folder);
  EXPECT_TRUE(contains(log, "saved " + folder / "run" + "/checkpoints/step-00000040")) << log;
  EXPECT_TRUE(contains(log, tasks == 2 ? "2 ranks" : "1 compute threads"));
  EXPECT_EQ(digest_of(folder / "run"), digest_after({}));
}

// PMIx's variables and Slurm's, none of mpirun's: what `srun --mpi=pmix` gives a task.
TEST(Slurm, RanksThatSeePmixAndSlurmAloneFindEachOther) {
  const TestFolder folder;
  const std::string task = executable(folder, "task", R"(#!/bin/bash
export SLURM_JOB_ID=7 SLURM_JOBID=7 SLURM_STEP_ID=0 SLURM_STEPID=0 SLURM_NODELIST=$(hostname) SLURM_PROCID=$PMIX_RANK
export SLURM_NTASKS=$OMPI_COMM_WORLD_SIZE SLURM_STEP_NUM_TASKS=$OMPI_COMM_WORLD_SIZE
for v in $(compgen -e | grep -E '^(OMPI|ORTE|OPAL|PMI)_'); do unset $v; done
exec )" SHARDIT_PROGRAM " \"$@\"\n");
  const std::string log =
      output_of(surroundings() + "OMP_NUM_THREADS=1 mpirun --oversubscribe --bind-to none -np 2 " + task + " train " +
                    tiny_config() + " --set parallel.zero_stage=3 --run-dir " + folder / "run",
                folder);
  EXPECT_TRUE(contains(log, "2 ranks, ZeRO stage 3")) << log;
  EXPECT_EQ(digest_of(folder / "run"), digest_after({}));
}

TEST(Slurm, ATaskWithoutPmixDoesNotTrainAlone) {
  const TestFolder folder;
  const Surroundings task{.environment = {{"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}}};
  EXPECT_TRUE(contains(train(folder / "run", {}, task).err, "2 processes were started, but MPI sees 1"));
  EXPECT_EQ(train(folder / "run", {}, task).code, 3);
  EXPECT_FALSE(exists(folder / "run"));
}

TEST(Slurm, ABatchScriptIsOneProcess) {
  const TestFolder folder;
  const Surroundings script{.environment = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "7"}}};
  EXPECT_TRUE(succeeds(train(folder / "run", {"--steps", "2"}, script)));
}

// The words of the launcher's pod, with a config that is here.
TEST(Slurm, TheKubernetesManifestOfThePageIsACommandThatLaunchTakes) {
  if (shell("python3 -c 'import yaml' 2>/dev/null") != 0) GTEST_SKIP() << "python3-yaml is not installed";
  const TestFolder folder;
  folder.write("job.yaml", block_of_the_page("apiVersion: kubeflow.org/v2beta1"));
  folder.write("words.py",
               "import sys, yaml\njob = yaml.safe_load(open(sys.argv[1]))\nspec = job['spec']['mpiReplicaSpecs']\n"
               "assert spec['Worker']['replicas'] * job['spec']['slotsPerWorker'] == 16\n"
               "pod = spec['Launcher']['template']['spec']['containers'][0]\n"
               "assert pod['command'] == ['shardit', 'launch', '--max-restarts', '5', '--'], pod['command']\n"
               "print('\\n'.join(pod['args']))\n");
  std::istringstream lines(output_of("python3 " + folder / "words.py" + " " + folder / "job.yaml", folder));
  Words words;
  for (std::string line; std::getline(lines, line);) words.push_back(line);
  std::replace(words.begin(), words.end(), std::string("/shared/configs/xl2.textproto"), tiny_config());
  const LaunchCommand command(words);
  EXPECT_EQ(command.ranks(), 16);
  EXPECT_EQ(command.run_directory(), "/shared/runs/xl2");
}

}  // namespace
}  // namespace shardit
