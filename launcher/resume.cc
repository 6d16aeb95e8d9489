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

// What a run would do with a checkpoint.
struct Wanted {
  const RunConfig& config;
  const TrainOptions& options;
  const std::string& fingerprint;
  std::span<const StateTensor> state;
};

// Every change that makes it another run: a config key, or other data under the same key.
std::vector<std::string> changes(const Checkpoint& checkpoint, const Wanted& wanted) {
  const RunState& saved = checkpoint.manifest.run;
  std::vector<std::string> lines;
  for (const KeyDifference& c : resume_conflicts(parse_config(saved.config_text, checkpoint.path), wanted.config))
    lines.push_back(c.key + ": saved " + value_text(c.before) + ", now " + value_text(c.after));
  const bool other_data = !saved.data_fingerprint.empty() && saved.data_fingerprint != wanted.fingerprint;
  if (other_data && lines.empty())
    lines.push_back("contents of the training data: saved " + saved.data_fingerprint + ", now " + wanted.fingerprint);
  return lines;
}

void load(FileSystem& files, const Checkpoint& checkpoint, const Wanted& wanted, std::vector<std::string>& warnings) {
  for (const std::string& change : changes(checkpoint, wanted)) {
    REQUIRE(wanted.options.override_arithmetic,
            "the checkpoint of step " + std::to_string(checkpoint.manifest.run.step) + " was made with another " +
                change + "\nit would not be the same run: use another --run-dir, or --override-arithmetic to go on " +
                "regardless");
    warn("--override-arithmetic skips the check of " + change + "; the result is that of no single run", warnings);
  }
  load_checkpoint(files, checkpoint, wanted.state);
}

// The newest checkpoint whose bytes are whole: find_newest looks at sizes only, loading at digests.
std::optional<Resumed> resume_newest(FileSystem& files, const Wanted& wanted) {
  const std::string& run_dir = wanted.options.run_dir;
  std::vector<std::string> warnings;
  for (int64_t before = INT64_MAX;;) {
    NewestCheckpoint newest = find_newest(files, run_dir, before);
    for (const std::string& problem : newest.problems) warn(problem, warnings);
    if (!newest.checkpoint) break;
    const int64_t step = newest.checkpoint->manifest.run.step;
    try {
      if (!warnings.empty())
        warn("the newest checkpoint is broken: falling back to that of step " + std::to_string(step), warnings);
      load(files, *newest.checkpoint, wanted, warnings);
      return Resumed{std::move(*newest.checkpoint), std::move(warnings)};
    } catch (const IoError& error) {
      warn(error.what(), warnings);
      before = step;
    }
  }
  if (warnings.empty()) return std::nullopt;
  throw IoError(run_dir + " has no valid checkpoint, only broken ones: " + warnings.front() +
                "\nrepair it, or choose another --run-dir");
}

}  // namespace

std::optional<Resumed> resume_run(FileSystem& files, const RunConfig& config, const TrainOptions& options,
                                  const std::string& fingerprint, std::span<const StateTensor> state) {
  const Wanted wanted{config, options, fingerprint, state};
  if (options.resume == "auto") return resume_newest(files, wanted);
  if (options.resume == "none") {
    const NewestCheckpoint newest = find_newest(files, options.run_dir);
    REQUIRE(!newest.checkpoint && newest.problems.empty(),
            "--resume none: " + options.run_dir +
                " has checkpoints already; choose another --run-dir, or resume with --resume auto");
    return std::nullopt;
  }
  Resumed resumed{open_step(files, options.run_dir, std::stoll(options.resume)), {}};
  load(files, resumed.checkpoint, wanted, resumed.warnings);
  return resumed;
}

}  // namespace shardit
