#include "launcher/resume.h"

#include <algorithm>
#include <iostream>

#include "core/error.h"

namespace shardit {
namespace {

// Collects what rank 0 also prints.
class Warnings {
 public:
  explicit Warnings(bool prints) : prints_(prints) {}

  void add(std::string text) {
    while (!text.empty() && text.back() == '\n') text.pop_back();
    for (size_t at; (at = text.find('\n')) != std::string::npos;) text.replace(at, 1, "; ");
    if (prints_) std::cerr << "WARNING: " << text << std::endl;
    lines_.push_back(text);
  }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  bool prints_;
  std::vector<std::string> lines_;
};

std::string value_text(const std::string& value) { return value.empty() ? "not set" : value; }

// What a run would do with a checkpoint.
struct Wanted {
  const RunConfig& config;
  const TrainOptions& options;
  const std::string& fingerprint;
  const RunProducts& products;
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
  if (wanted.products.differ_from(saved))
    lines.push_back("product table, which has other algorithms for " + wanted.products.device +
                    "; --set product_table= goes on with those");
  return lines;
}

void admit(const Checkpoint& checkpoint, const Wanted& wanted, Warnings& warnings) {
  for (const std::string& change : changes(checkpoint, wanted)) {
    REQUIRE(wanted.options.override_arithmetic,
            "the checkpoint of step " + std::to_string(checkpoint.manifest.run.step) + " was made with another " +
                change + "\nit would not be the same run: use another --run-dir, or --override-arithmetic to go on " +
                "regardless");
    warnings.add("--override-arithmetic skips the check of " + change + "; the result is that of no single run");
  }
}

std::optional<Resumed> resume_newest(FileSystem& files, const Readers& readers, const Wanted& wanted,
                                     std::span<const TensorPart> state, Warnings& warnings) {
  const std::string& run_dir = wanted.options.run_dir;
  std::vector<std::string> admitted;  // of the checkpoint that is loaded in the end
  NewestCheckpoint newest = load_newest(files, readers, run_dir, state, [&](const Checkpoint& checkpoint) {
    Warnings quiet(false);
    admit(checkpoint, wanted, quiet);
    admitted = quiet.lines();
  });
  for (const std::string& problem : newest.problems) warnings.add(problem);
  if (newest.checkpoint) {
    if (!newest.problems.empty())
      warnings.add("the newest checkpoint is broken: falling back to that of step " +
                   std::to_string(newest.checkpoint->manifest.run.step));
    for (const std::string& line : admitted) warnings.add(line);
    return Resumed{std::move(*newest.checkpoint), warnings.lines()};
  }
  if (warnings.lines().empty()) return std::nullopt;
  throw IoError(run_dir + " has no valid checkpoint, only broken ones: " + warnings.lines().front() +
                "\nrepair it, or choose another --run-dir");
}

}  // namespace

std::string stored_products(FileSystem& files, const TrainOptions& options) {
  if (options.resume == "none") return "";
  if (options.resume != "auto")
    return open_step(files, options.run_dir, std::stoll(options.resume)).manifest.run.product_table;
  const NewestCheckpoint newest = find_newest(files, options.run_dir);
  return newest.checkpoint ? newest.checkpoint->manifest.run.product_table : "";
}

std::optional<Resumed> resume_run(FileSystem& files, const Readers& readers, const RunConfig& config,
                                  const TrainOptions& options, const std::string& fingerprint,
                                  const RunProducts& products, std::span<const TensorPart> state) {
  const Wanted wanted{config, options, fingerprint, products};
  Warnings warnings(readers.world.rank() == 0);
  if (options.resume == "auto") return resume_newest(files, readers, wanted, state, warnings);
  if (options.resume == "none") {
    const NewestCheckpoint newest = find_newest(files, readers.world, options.run_dir);
    REQUIRE(!newest.checkpoint && newest.problems.empty(),
            "--resume none: " + options.run_dir +
                " has checkpoints already; choose another --run-dir, or resume with --resume auto");
    return std::nullopt;
  }
  Checkpoint checkpoint = open_step(files, readers.world, options.run_dir, std::stoll(options.resume));
  admit(checkpoint, wanted, warnings);
  load_sharded(files, readers, checkpoint, state);
  return Resumed{std::move(checkpoint), warnings.lines()};
}

}  // namespace shardit
