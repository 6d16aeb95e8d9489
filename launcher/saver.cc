#include "launcher/saver.h"

#include <glog/logging.h>
#include "checkpoints/directory.h"
#include "launcher/progress.h"
#include "launcher/state.h"

namespace shardit {
Saver::Saver(World& world, FileSystem& files, Program& program, const RunSetup& setup, const RunConfig& config,
             const std::string& run_dir)
    : files_(files),
      program_(program),
      setup_(setup),
      config_(config),
      run_dir_(run_dir),
      writers_(world.make_group("save", ranks_of_shard_group(setup.sharding.mesh))),
      writes_(setup.sharding.mesh.replicate.rank == 0) {}

Saver::~Saver() {
  if (running_.valid()) running_.wait();
}

FinishedSave Saver::write(const RunState& run, const std::vector<TensorPart>& parts, const Times& times) const {
  FinishedSave result{
      .report = save_sharded(files_, *writers_, run_dir_, run, parts), .step = run.step, .proof_ms = times.proof_ms};
  const auto& keep = config_.checkpoint();
  if (keep.keep_last() > 0 && writers_->rank() == 0) {  // 0 keeps all
    const PruneReport pruned = prune(files_, run_dir_, static_cast<int>(keep.keep_last()), keep.keep_every_steps());
    result.report.notes.insert(result.report.notes.end(), pruned.problems.begin(), pruned.problems.end());
  }
  result.total_ms = (steady_seconds() - times.begin_s) * 1e3;
  result.stall_ms = times.stall_ms < 0 ? result.total_ms : times.stall_ms;
  return result;
}

void Saver::save(const RunState& run, double proof_ms) {
  CHECK(!running()) << "a save is running";
  if (!writes_) return;
  const double begin = steady_seconds();
  if (!config_.checkpoint().async()) {
    std::promise<FinishedSave> done;
    done.set_value(write(run, parts_to_save(program_, setup_, false), {begin, proof_ms, -1}));
    running_ = done.get_future();
    return;
  }
  const bool snapshot = program_.has_graph("snapshot");  // else the copies on the host are one
  if (snapshot) program_.run("snapshot");
  std::vector<TensorPart> parts = parts_to_save(program_, setup_, snapshot);
  const Times times{begin, proof_ms, (steady_seconds() - begin) * 1e3};
  running_ =
      std::async(std::launch::async, [this, run, parts = std::move(parts), times] { return write(run, parts, times); });
}

bool Saver::ready() const {
  return !running_.valid() || running_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

std::optional<FinishedSave> Saver::finish() {
  if (!running_.valid()) return std::nullopt;
  return running_.get();
}

}  // namespace shardit
