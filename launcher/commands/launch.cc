// `shardit launch … -- mpirun -np N shardit train …`.
#include "launcher/launch.h"

#include <memory>

#include "core/error.h"
#include "dist/launch_environment.h"
#include "launcher/commands/commands.h"
#include "launcher/machine.h"

namespace shardit {
namespace {

struct Flags {
  LaunchOptions options;
  bool share_gpu = false;
};

int run(const Flags& flags) {
  REQUIRE(!started_by_launcher(), "launch: was itself started by mpirun or srun; it starts mpirun: run it alone");
  REQUIRE(!flags.share_gpu,
          "launch: --share-gpu lets the ranks of a node share a GPU, and jobs of several ranks cannot use GPUs yet; "
          "leave it out");
  return launch(flags.options);
}

}  // namespace

void add_launch_command(CLI::App& app, Handler& chosen) {
  CLI::App* command = add_subcommand(
      app, "launch", "Runs a training job and restarts it from its newest checkpoint when a rank is lost",
      "shardit launch --max-restarts 5 -- mpirun -np 8 shardit train configs/imagenet512-xl2.textproto");
  auto flags = std::make_shared<Flags>();
  command->add_option("--max-restarts", flags->options.max_restarts, "Restart at most so many times")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--shrink", flags->options.shrink,
                    "After a failure go on with fewer ranks: the next smaller number that divides the micro-batches");
  command->add_flag("--share-gpu", flags->share_gpu, "Let the ranks of a node share a GPU; not yet");
  command->add_option("COMMAND", flags->options.command, "After --: mpirun -np N shardit train CONFIG …")->required();
  command->callback([flags, &chosen] { chosen = [flags] { return run(*flags); }; });
}

}  // namespace shardit
