#include "launcher/bench_checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>

#include "checkpoints/load_sharded.h"
#include "checkpoints/run_lock.h"
#include "core/error.h"
#include "launcher/config.h"
#include "launcher/median.h"
#include "launcher/progress.h"
#include "launcher/ranks.h"
#include "launcher/run_program.h"
#include "launcher/saver.h"
#include "launcher/signals.h"
#include "launcher/state.h"

namespace shardit {
namespace {

constexpr int64_t kPiece = 8 << 20;  // bytes of a plain write

double ms_since(double begin) { return (steady_seconds() - begin) * 1e3; }

// A folder of the ranks', gone when rank 0's goes.
class SharedFolder {
 public:
  SharedFolder(Ranks& ranks, FileSystem& files, const std::string& dir) : owned_(ranks.first()) {
    std::string nonce;
    ranks.on_first("folder", [&] {
      path_ = dir + "/shardit-bench-" + std::to_string(getpid());
      files.make_dir(path_);
      nonce = write_nonce(files, path_);
    });
    path_ = ranks.from_first("folder", path_);
    nonce = ranks.from_first("nonce", nonce);
    ranks.together("folder", [&] { check_nonce(files, path_, nonce); });
  }
  ~SharedFolder() {
    std::error_code ignored;
    if (owned_ && !path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  SharedFolder(const SharedFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  bool owned_;
  std::string path_;
};

// Saves of a benchmark are all kept until it removes them: deleting is no part of a save.
RunConfig without_pruning(RunConfig config) {
  config.mutable_checkpoint()->set_keep_last(0);
  return config;
}

// The state of a run, and what saves it; no model beside it.
class SavedState {
 public:
  SavedState(const RunConfig& config, const CheckpointBenchOptions& options, World& world)
      : config_(without_pruning(config)),
        ranks_(world),
        setup_(make_setup(config_, ranks_)),
        pool_(options.threads),
        device_(make_cpu_device()) {
    ranks_.together("memory", [&] {
      program_.emplace(
          compile_run(setup_, {.training = false, .snapshot = config_.checkpoint().async()}, options.threads), *device_,
          pool_);
      fill();
      parts_ = parts_to_save(*program_, setup_, false);
      for (const TensorPart& part : parts_) shard_bytes_ += bytes_of(part);
      copy_.resize(static_cast<size_t>(writes() ? shard_bytes_ : 0));
    });
    folder_.emplace(ranks_, files_, options.dir);
    saver_.emplace(world, files_, *program_, setup_, config_, folder_->path());
  }

  // In turn, each to its end with its files removed: they then use the same memory for their pages.
  CheckpointRound run_round(int round) {
    CheckpointRound r{.copy_ms = copy()};
    if (round % 2) r.plain_ms = write_plain();  // who comes second finds the disk as the other left it
    save(round + 1, r);
    r.load_ms = load(round + 1);
    r.verify_ms = verify(round + 1);
    remove("save", [&] {
      if (ranks_.first()) remove_tree(files_, checkpoints_dir(folder_->path()) + "/" + step_name(round + 1));
    });
    if (round % 2 == 0) r.plain_ms = write_plain();
    return r;
  }

  Ranks& ranks() { return ranks_; }
  int64_t bytes() {
    int64_t sum = 0;
    for (int64_t each : ranks_.all("bytes", static_cast<int64_t>(copy_.size()))) sum += each;
    return sum;
  }
  int64_t shard_bytes() { return static_cast<int64_t>(slowest("shard", static_cast<double>(copy_.size()))); }

 private:
  static int64_t bytes_of(const TensorPart& part) { return part.count * static_cast<int64_t>(size_of(part.dtype)); }
  bool writes() const { return setup_.sharding.mesh.replicate.rank == 0; }

  // Fresh weights, and the moments as if they were: memory that nobody wrote to would be read faster.
  void fill() {
    initialize_state(*program_, setup_);
    for (const Unit& unit : setup_.layout.units)
      for (const char* moment : {"adam.m", "adam.v"})
        std::memcpy(program_->host_pointer(unit_buffer(moment, unit)),
                    program_->host_pointer(unit_buffer("master", unit)),
                    static_cast<size_t>(setup_.state_type(unit).bytes()));
  }

  double slowest(const char* what, double mine) {
    const std::vector<double> all = ranks_.all(what, mine);
    return *std::max_element(all.begin(), all.end());
  }
  // Milliseconds of this rank's work, of all ranks at once, on the slowest; its error is that of all.
  double timed(const char* what, const std::function<void()>& work) {
    ranks_.any(what, false);  // together
    const double begin = steady_seconds();
    ranks_.together(what, work);
    return slowest(what, ms_since(begin));
  }

  double copy() {
    return timed("copy", [&] {
      char* to = copy_.data();
      for (const TensorPart& part : parts_) {
        if (!writes()) return;
        std::memcpy(to, part.data, static_cast<size_t>(bytes_of(part)));
        to += bytes_of(part);
      }
    });
  }

  // Without a snapshot (checkpoint.async: false) training stands still until the commit.
  void save(int64_t step, CheckpointRound& r) {
    FinishedSave save;
    timed("save", [&] {
      saver_->save(state_at(step), 0);
      save = saver_->finish().value_or(save);
    });
    r.stall_ms = slowest("stall", save.stall_ms);
    r.save_ms = slowest("save", save.total_ms - (config_.checkpoint().async() ? save.stall_ms : 0));
  }

  double write_plain() {
    const std::string path = folder_->path() + "/plain-" + std::to_string(ranks_.rank());
    const double ms = timed("plain", [&] {
      if (!writes()) return;
      const std::unique_ptr<OutputFile> file = files_.create(path);
      for (int64_t at = 0; at < std::ssize(copy_); at += kPiece)
        file->write(copy_.data() + at, std::min(kPiece, std::ssize(copy_) - at));
      file->sync();
      file->close();
    });
    remove("plain", [&] {
      if (writes()) files_.remove_file(path);
    });
    return ms;
  }

  double load(int64_t step) {
    const Sharding& s = setup_.sharding;
    const Checkpoint saved = open_step(files_, ranks_.control(), folder_->path(), step);
    const Readers readers{ranks_.control(), s.state_shards() > 1 ? s.mesh.shard.communicator.get() : nullptr};
    ranks_.any("load", false);
    const double begin = steady_seconds();
    load_sharded(files_, readers, saved, parts_held(*program_, setup_));
    return slowest("load", ms_since(begin));
  }

  double verify(int64_t step) {
    return timed("verify", [&] {
      if (ranks_.first()) verify_checkpoint(files_, open_step(files_, folder_->path(), step));
    });
  }

  // The disk is left idle, whoever comes next.
  void remove(const char* what, const std::function<void()>& work) {
    ranks_.together(what, work);
    ranks_.on_first(what, [&] { files_.sync_dir(folder_->path()); });
  }

  RunState state_at(int64_t step) const {
    return {.step = step,
            .images = step * setup_.global_batch,
            .seed = config_.seed(),
            .next_sample = static_cast<uint64_t>(step * setup_.global_batch),
            .config_text = resolved_text(config_),
            .ranks = ranks_.size(),
            .zero_stage = setup_.sharding.stage,
            .device_kind = device_->name()};
  }

  RunConfig config_;
  Ranks ranks_;
  RunSetup setup_;
  Pool pool_;
  std::unique_ptr<Device> device_;
  std::optional<Program> program_;
  PosixFiles files_;
  std::vector<TensorPart> parts_;
  int64_t shard_bytes_ = 0;
  std::vector<char> copy_;  // of the shard; what the plain write writes
  std::optional<SharedFolder> folder_;
  std::optional<Saver> saver_;
};

// Every time on its own.
CheckpointRound over(const std::vector<CheckpointRound>& rounds, double (*typical)(std::vector<double>)) {
  CheckpointRound result;
  for (double CheckpointRound::*ms :
       {&CheckpointRound::save_ms, &CheckpointRound::stall_ms, &CheckpointRound::plain_ms, &CheckpointRound::copy_ms,
        &CheckpointRound::load_ms, &CheckpointRound::verify_ms}) {
    std::vector<double> values;
    for (const CheckpointRound& round : rounds) values.push_back(round.*ms);
    result.*ms = typical(std::move(values));
  }
  return result;
}

double least(std::vector<double> values) { return *std::min_element(values.begin(), values.end()); }

}  // namespace

std::optional<CheckpointReport> measure_checkpoints(const RunConfig& config, const CheckpointBenchOptions& options,
                                                    World& world, const std::function<void(int round)>& told) {
  SavedState state(config, options, world);
  CheckpointReport report{.bytes = state.bytes(), .shard_bytes = state.shard_bytes(), .ranks = world.size()};
  report.first = state.run_round(0);
  std::vector<CheckpointRound> rounds;
  for (int round = 1; round <= options.rounds; ++round) {
    told(round);
    rounds.push_back(state.run_round(round));
    if (state.ranks().any("stop", stop_requested())) return std::nullopt;
  }
  report.median = over(rounds, median);
  report.best = over(rounds, least);
  return report;
}

Json to_json(const CheckpointReport& r) {
  return {{"ranks", r.ranks},
          {"bytes", r.bytes},
          {"shard_bytes", r.shard_bytes},
          {"write_gb_per_s", r.gb_per_s(r.median.save_ms)},
          {"plain_write_gb_per_s", r.gb_per_s(r.median.plain_ms)},
          {"write_fraction", r.write_fraction()},
          {"best_write_gb_per_s", r.gb_per_s(r.best.save_ms)},
          {"best_plain_write_gb_per_s", r.gb_per_s(r.best.plain_ms)},
          {"best_write_fraction", r.best_write_fraction()},
          {"stall_ms", r.median.stall_ms},
          {"copy_ms", r.median.copy_ms},
          {"stall_fraction", r.stall_fraction()},
          {"first_stall_ms", r.first.stall_ms},
          {"load_gb_per_s", r.gb_per_s(r.median.load_ms)},
          {"verify_gb_per_s", r.gb_per_s(r.median.verify_ms)}};
}

}  // namespace shardit
