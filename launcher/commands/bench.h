// The benchmarks of `shardit bench`; each is defined in the file of its name.
#pragma once

#include <string>

#include "launcher/command_line.h"
#include "launcher/run_config.pb.h"

namespace shardit {

void add_bench_ops(CLI::App& bench, Handler& chosen);
void add_bench_step(CLI::App& bench, Handler& chosen);
void add_bench_comm(CLI::App& bench, Handler& chosen);
void add_bench_checkpoint(CLI::App& bench, Handler& chosen);
void add_bench_scaling(CLI::App& bench, Handler& chosen);
void add_bench_data(CLI::App& bench, Handler& chosen);

// What they share: the flags that most of them have (the config, which is returned), and results as files (IoError
// where that fails).
void add_config_flags(CLI::App* command, std::string& config, std::vector<std::string>& sets,
                      const std::string& without = "a small latent DiffiT on synthetic images");
// The same flags for a job that a benchmark starts.
void append_config_flags(const std::string& config, const std::vector<std::string>& sets,
                         std::vector<std::string>& words);
// The config at `path`, or where none was given a small latent DiffiT on synthetic images; and what to call it.
RunConfig bench_config(const std::string& path, const std::vector<std::string>& sets);
std::string bench_config_name(const std::string& path);
void add_json_flag(CLI::App* command, std::string& path);
void write_text(const std::string& path, const std::string& text);

}  // namespace shardit
