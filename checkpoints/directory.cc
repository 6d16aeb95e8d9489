#include "checkpoints/directory.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "core/error.h"

namespace shardit {
namespace {

// A directory that may hold a checkpoint. Where a save of the same step was interrupted, the old one lies aside.
struct Candidate {
  int64_t step = 0;
  std::string name;
  bool aside = false;
};

// The step of ".step-00001000.replaced" for what = "replaced".
std::optional<int64_t> step_of_aside(const std::string& name, const std::string& what) {
  const std::string tail = "." + what;
  if (name.size() <= tail.size() + 1 || name[0] != '.' || !name.ends_with(tail)) return std::nullopt;
  return step_of_name(name.substr(1, name.size() - 1 - tail.size()));
}

// Newest first; of one step, the committed one first.
std::vector<Candidate> candidates(FileSystem& files, const std::string& dir) {
  std::vector<Candidate> found;
  if (files.kind(dir) != PathKind::kDirectory) return found;
  for (const std::string& name : files.list(dir)) {
    if (const auto step = step_of_name(name))
      found.push_back({*step, name, false});
    else if (const auto old = step_of_aside(name, "replaced"))
      found.push_back({*old, name, true});
  }
  std::sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
    return a.step != b.step ? a.step > b.step : a.aside < b.aside;
  });
  return found;
}

void check_files(FileSystem& files, const Checkpoint& checkpoint) {
  for (const FileEntry& entry : checkpoint.manifest.files) {
    const std::string path = checkpoint.path + "/" + entry.name;
    if (files.kind(path) != PathKind::kFile) throw IoError(path + " is missing, the manifest lists it");
    const int64_t size = files.open(path)->size();
    if (size != entry.bytes)
      throw IoError(path + " has " + std::to_string(size) + " bytes, the manifest says " + std::to_string(entry.bytes));
  }
}

// A step directory, checked as far as "valid" goes.
Checkpoint open_dir(FileSystem& files, const std::string& path) {
  const std::string manifest_path = path + "/" + kManifestName;
  if (files.kind(manifest_path) != PathKind::kFile) throw IoError(path + " has no " + kManifestName);
  Checkpoint checkpoint{path, decode_manifest(read_file(files, manifest_path), manifest_path)};
  check_files(files, checkpoint);
  return checkpoint;
}

Checkpoint open_candidate(FileSystem& files, const std::string& dir, const Candidate& candidate) {
  Checkpoint checkpoint = open_dir(files, dir + "/" + candidate.name);
  if (checkpoint.manifest.run.step != candidate.step)
    throw IoError(checkpoint.path + " holds step " + std::to_string(checkpoint.manifest.run.step) +
                  ": it was renamed or copied over another");
  return checkpoint;
}

bool is_valid(FileSystem& files, const std::string& dir, const Candidate& candidate) {
  try {
    open_candidate(files, dir, candidate);
    return true;
  } catch (const IoError&) {
    return false;
  }
}

// Deleting is finished, not undone; that is worth no line.
void finish_pruning(FileSystem& files, const std::string& dir) {
  for (const std::string& name : files.list(dir))
    if (step_of_aside(name, "pruned")) remove_tree(files, dir + "/" + name, kManifestName);
}

void delete_checkpoint(FileSystem& files, const std::string& dir, const Candidate& candidate) {
  const std::string aside = dir + "/" + aside_name(candidate.step, "pruned");
  files.rename(dir + "/" + candidate.name, aside);
  files.sync_dir(dir);  // a crash must not bring back a directory whose files are gone
  remove_tree(files, aside, kManifestName);
}

std::string last_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

std::string steps_present(FileSystem& files, const std::string& dir) {
  std::string text;
  for (const Candidate& candidate : candidates(files, dir))
    if (!candidate.aside) text += (text.empty() ? "" : ", ") + std::to_string(candidate.step);
  return text.empty() ? "none" : text;
}

}  // namespace

std::string checkpoints_dir(const std::string& run_dir) { return run_dir + "/checkpoints"; }

std::string step_name(int64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "step-%08lld", static_cast<long long>(step));
  return text;
}

std::optional<int64_t> step_of_name(const std::string& name) {
  if (!name.starts_with("step-") || name.size() < 13 || name.size() > 23) return std::nullopt;
  if (name.find_first_not_of("0123456789", 5) != std::string::npos) return std::nullopt;
  const int64_t step = std::stoll(name.substr(5));
  return step_name(step) == name ? std::optional(step) : std::nullopt;
}

std::string aside_name(int64_t step, const std::string& what) {
  std::string name = ".";
  return name.append(step_name(step)).append(".").append(what);
}

std::string quarantine(FileSystem& files, const std::string& dir, const std::string& name, const std::string& why) {
  const std::string stem = "quarantine-" + name.substr(name[0] == '.' ? 1 : 0) + "-";
  int number = 1;
  while (files.kind(dir + "/" + stem + std::to_string(number)) != PathKind::kMissing) ++number;
  const std::string to = stem + std::to_string(number);
  files.rename(dir + "/" + name, dir + "/" + to);
  return "moved " + name + " to " + to + ": " + why + "; you may delete it";
}

std::string settle_replaced(FileSystem& files, const std::string& dir, int64_t step) {
  const Candidate committed{step, step_name(step), false}, old{step, aside_name(step, "replaced"), true};
  if (is_valid(files, dir, committed)) {
    remove_tree(files, dir + "/" + old.name, kManifestName);
    return "deleted the old " + committed.name + ": the save that replaced it had committed";
  }
  if (!is_valid(files, dir, old)) return quarantine(files, dir, old.name);
  std::string line;
  if (files.kind(dir + "/" + committed.name) != PathKind::kMissing)
    line = quarantine(files, dir, committed.name) + "; ";
  files.rename(dir + "/" + old.name, dir + "/" + committed.name);
  return line + "brought back the old " + committed.name + ": the save that was to replace it was interrupted";
}

NewestCheckpoint find_newest(FileSystem& files, const std::string& run_dir, int64_t before) {
  const std::string dir = checkpoints_dir(run_dir);
  NewestCheckpoint newest;
  for (const Candidate& candidate : candidates(files, dir)) {
    if (candidate.step >= before) continue;
    try {
      newest.checkpoint = open_candidate(files, dir, candidate);
      return newest;
    } catch (const IoError& error) {
      newest.problems.push_back(error.what());
    }
  }
  return newest;
}

Checkpoint open_step(FileSystem& files, const std::string& run_dir, int64_t step) {
  const std::string dir = checkpoints_dir(run_dir);
  for (const Candidate& candidate : candidates(files, dir))
    if (candidate.step == step) return open_candidate(files, dir, candidate);
  throw UserError(run_dir + " has no checkpoint of step " + std::to_string(step) + "; it has " +
                  steps_present(files, dir));
}

Checkpoint open_checkpoint(FileSystem& files, const std::string& path) {
  if (files.kind(path) != PathKind::kDirectory)
    throw UserError(path + " is no directory: expected a run directory or a step directory in RUN/checkpoints");
  if (files.kind(path + "/" + kManifestName) == PathKind::kFile) return open_dir(files, path);
  if (step_of_name(last_name(path))) throw IoError(path + " has no " + kManifestName + ": its save never committed");
  NewestCheckpoint newest = find_newest(files, path);
  if (newest.checkpoint) return std::move(*newest.checkpoint);
  if (newest.problems.empty()) throw UserError(path + " has no checkpoint: expected a run directory that has saved");
  throw IoError("no checkpoint of " + path + " is intact; the newest: " + newest.problems[0]);
}

std::vector<std::string> set_aside_after(FileSystem& files, const std::string& run_dir, int64_t step) {
  const std::string dir = checkpoints_dir(run_dir);
  std::vector<std::string> lines;
  for (const Candidate& candidate : candidates(files, dir))
    if (candidate.step > step)
      lines.push_back(quarantine(files, dir, candidate.name,
                                 "the run continues from step " + std::to_string(step) + ", before it"));
  if (!lines.empty()) files.sync_dir(dir);
  return lines;
}

std::vector<std::string> recover(FileSystem& files, const std::string& run_dir) {
  const std::string dir = checkpoints_dir(run_dir);
  std::vector<std::string> lines;
  if (files.kind(dir) != PathKind::kDirectory) return lines;
  for (const std::string& name : files.list(dir)) {
    if (step_of_aside(name, "partial")) lines.push_back(quarantine(files, dir, name));
    if (const auto step = step_of_aside(name, "replaced")) lines.push_back(settle_replaced(files, dir, *step));
  }
  finish_pruning(files, dir);
  files.sync_dir(dir);
  return lines;
}

PruneReport prune(FileSystem& files, const std::string& run_dir, int keep_last, int64_t keep_every) {
  REQUIRE(keep_last >= 1, "prune keeps at least one checkpoint: --keep-last is " + std::to_string(keep_last));
  REQUIRE(keep_every >= 0, "--keep-every is " + std::to_string(keep_every) + ", expected a number of steps or 0");
  const std::string dir = checkpoints_dir(run_dir);
  PruneReport report;
  if (files.kind(dir) == PathKind::kDirectory) finish_pruning(files, dir);  // of an earlier call that was killed
  for (const Candidate& candidate : candidates(files, dir)) {
    if (candidate.aside) continue;
    try {
      open_candidate(files, dir, candidate);
    } catch (const IoError& error) {
      report.problems.push_back(error.what());
      continue;
    }
    const bool milestone = keep_every > 0 && candidate.step % keep_every == 0;
    if (milestone || report.kept.size() < static_cast<size_t>(keep_last)) {
      report.kept.push_back(candidate.step);
      continue;
    }
    delete_checkpoint(files, dir, candidate);
    report.deleted.push_back(candidate.step);
  }
  return report;
}

}  // namespace shardit
