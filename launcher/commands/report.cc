// `shardit report RUN_DIR`.
#include "launcher/report.h"

#include <iostream>
#include <memory>

#include "launcher/commands/commands.h"

namespace shardit {

void add_report_command(CLI::App& app, Handler& chosen) {
  CLI::App* command = add_subcommand(app, "report", "Writes RUN_DIR/report.html: curves, samples, checkpoints, config",
                                     "shardit report runs/demo");
  auto run_dir = std::make_shared<std::string>();
  command->add_option("RUN_DIR", *run_dir, "The folder of a run; it may still be going on")->required();
  command->callback([run_dir, &chosen] {
    chosen = by_first_rank([run_dir] {
      const std::string path = write_report(*run_dir);
      std::cout << "wrote " << path << "\n";
      return 0;
    });
  });
}

}  // namespace shardit
