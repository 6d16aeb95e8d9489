// `shardit bench …`: what this machine, this disk and these ranks give, measured by the code that a run uses.
#include "launcher/commands/bench.h"

#include <fstream>

#include "core/error.h"
#include "launcher/bench_ops.h"
#include "launcher/commands/commands.h"
#include "launcher/config.h"

namespace shardit {

void add_config_flags(CLI::App* command, std::string& config, std::vector<std::string>& sets,
                      const std::string& without) {
  command->add_option("--set", sets, "key.path=value, overrides the config; may be repeated");
  command->add_option("CONFIG", config, "Run config, protobuf text; default: " + without);
}

void append_config_flags(const std::string& config, const std::vector<std::string>& sets,
                         std::vector<std::string>& words) {
  if (!config.empty()) words.push_back(config);
  for (const std::string& set : sets) words.insert(words.end(), {"--set", set});
}

RunConfig bench_config(const std::string& path, const std::vector<std::string>& sets) {
  return path.empty() ? parse_config(default_bench_config(), "default", sets) : load_config(path, sets);
}

std::string bench_config_name(const std::string& path) { return path.empty() ? "a small latent DiffiT" : path; }

void add_json_flag(CLI::App* command, std::string& path) {
  command->add_option("--json", path, "Also write the numbers to this file, as JSON");
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file) throw IoError("cannot write " + path + "; free space, or choose another place");
}

void add_bench_command(CLI::App& app, Handler& chosen) {
  CLI::App* command = add_subcommand(
      app, "bench", "Measures ops, steps, collectives, checkpoints, scaling and data, in numbers that can be compared",
      "shardit bench step configs/bench-cpu.textproto");
  command->require_subcommand(1);
  add_bench_ops(*command, chosen);
  add_bench_step(*command, chosen);
  add_bench_comm(*command, chosen);
  add_bench_checkpoint(*command, chosen);
  add_bench_scaling(*command, chosen);
  add_bench_data(*command, chosen);
}

}  // namespace shardit
