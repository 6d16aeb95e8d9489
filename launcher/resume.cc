#include "launcher/resume.h"

#include <algorithm>
#include <iostream>

#include "checkpoints/load.h"
#include "core/error.h"

namespace shardit {
namespace {

void warn(std::string text, std::vector<std::string>& warnings) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (size_t at; (at = text.find('\n')) != std::string::npos;) text.replace(at, 1, "; ");
  std::cerr << "WARNING: " << text << std::endl;
  warnings.push_back(text);
}

std::string value_text(const std::string& value) { return value.empty() ? "not set" : value; }

void check_keys(const Checkpoint& checkpoint, const RunConfig& config, bool override,
                std::vector<std::string>& warnings) {
  const RunState& saved = checkpoint.manifest.run;
  for (const KeyDifference& c : resume_conflicts(parse_config(saved.config_text, checkpoint.path), config)) {
    const std::string change = c.key + ": saved " + value_text(c.before) + ", now " + value_text(c.after);
    REQUIRE(override, "the checkpoint of step " + std::to_string(saved.step) + " was made with another " + change +
                          "\nit would not be the same run: use another --run-dir, or --override-arithmetic to go on " +
                          "regardless");
    warn("--override-arithmetic skips the check of " + change + "; the result is that of no single run", warnings);
  }
}

void load(FileSystem& files, const Checkpoint& checkpoint, const RunConfig& config, const TrainOptions& options,
          std::span<const StateTensor> state, std::vector<std::string>& warnings) {
  check_keys(checkpoint, config, options.override_arithmetic, warnings);
  load_checkpoint(files, checkpoint, state);
}

// The newest checkpoint whose bytes are whole: find_newest looks at sizes only, loading at digests.
std::optional<Resumed> resume_newest(FileSystem& files, const RunConfig& config, const TrainOptions& options,
                                     std::span<const StateTensor> state) {
  std::vector<std::string> warnings;
  for (int64_t before = INT64_MAX;;) {
    NewestCheckpoint newest = find_newest(files, options.run_dir, before);
    for (const std::string& problem : newest.problems) warn(problem, warnings);
    if (!newest.checkpoint) break;
    const int64_t step = newest.checkpoint->manifest.run.step;
    try {
      if (!warnings.empty())
        warn("the newest checkpoint is broken: falling back to that of step " + std::to_string(step), warnings);
      load(files, *newest.checkpoint, config, options, state, warnings);
      return Resumed{std::move(*newest.checkpoint), std::move(warnings)};
    } catch (const IoError& error) {
      warn(error.what(), warnings);
      before = step;
    }
  }
  if (warnings.empty()) return std::nullopt;
  throw IoError(options.run_dir + " has no valid checkpoint, only broken ones: " + warnings.front() +
                "\nrepair it, or choose another --run-dir");
}

}  // namespace

std::optional<Resumed> resume_run(FileSystem& files, const RunConfig& config, const TrainOptions& options,
                                  std::span<const StateTensor> state) {
  if (options.resume == "auto") return resume_newest(files, config, options, state);
  if (options.resume == "none") {
    const NewestCheckpoint newest = find_newest(files, options.run_dir);
    REQUIRE(!newest.checkpoint && newest.problems.empty(),
            "--resume none: " + options.run_dir +
                " has checkpoints already; choose another --run-dir, or resume with --resume auto");
    return std::nullopt;
  }
  Resumed resumed{open_step(files, options.run_dir, std::stoll(options.resume)), {}};
  load(files, resumed.checkpoint, config, options, state, resumed.warnings);
  return resumed;
}

}  // namespace shardit
