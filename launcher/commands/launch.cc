// `shardit launch … -- mpirun -np N shardit train …`.
#include "launcher/launch.h"

#include <memory>

#include "core/error.h"
#include "dist/launch_environment.h"
#include "launcher/commands/commands.h"
#include "launcher/machine.h"

namespace shardit {
namespace {

int run(const LaunchOptions& options) {
  REQUIRE(!started_by_launcher(), "launch: was itself started by mpirun or srun; it starts mpirun: run it alone");
  return launch(options);
}

}  // namespace

void add_launch_command(CLI::App& app, Handler& chosen) {
  CLI::App* command = add_subcommand(
      app, "launch", "Runs a training job and restarts it from its newest checkpoint when a rank is lost",
      "shardit launch --max-restarts 5 -- mpirun -np 8 shardit train configs/imagenet512-xl2.textproto");
  auto flags = std::make_shared<LaunchOptions>();
  command->add_option("--max-restarts", flags->max_restarts, "Restart at most so many times")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--shrink", flags->shrink,
                    "After a failure go on with fewer ranks: the next smaller number that divides the micro-batches");
  command->add_flag("--share-gpu", flags->share_gpu,
                    "For tests: let ranks of this machine compute on one GPU, where it has fewer than ranks");
  command->add_option("COMMAND", flags->command, "After --: mpirun -np N shardit train CONFIG …")->required();
  command->callback([flags, &chosen] { chosen = [flags] { return run(*flags); }; });
}

}  // namespace shardit
