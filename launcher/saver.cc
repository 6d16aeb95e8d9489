#include "launcher/saver.h"

#include "checkpoints/directory.h"
#include "launcher/progress.h"
#include "launcher/state.h"

namespace shardit {

Saver::~Saver() {
  if (running_.valid()) running_.wait();
}

FinishedSave Saver::write(const RunState& run, std::vector<StateTensor> tensors, double begin, double stall_ms) const {
  FinishedSave result{.report = save_checkpoint(files_, run_dir_, run, tensors), .step = run.step};
  const auto& keep = config_.checkpoint();
  if (keep.keep_last() > 0) {  // 0 keeps all
    const PruneReport pruned = prune(files_, run_dir_, static_cast<int>(keep.keep_last()), keep.keep_every_steps());
    result.report.notes.insert(result.report.notes.end(), pruned.problems.begin(), pruned.problems.end());
  }
  result.total_ms = (steady_seconds() - begin) * 1e3;
  result.stall_ms = stall_ms < 0 ? result.total_ms : stall_ms;
  return result;
}

void Saver::save(const RunState& run) {
  const double begin = steady_seconds();
  if (running_.valid()) done_ = running_.get();
  if (!config_.checkpoint().async()) {
    done_ = write(run, all_tensors(program_, setup_), begin, -1);
    return;
  }
  program_.run("snapshot");
  std::vector<StateTensor> tensors = all_tensors(program_, setup_, "snapshot.");
  const double stall_ms = (steady_seconds() - begin) * 1e3;
  running_ = std::async(std::launch::async, [this, run, tensors = std::move(tensors), begin, stall_ms] {
    return write(run, tensors, begin, stall_ms);
  });
}

std::optional<FinishedSave> Saver::finished(bool wait) {
  const bool ready =
      running_.valid() && (wait || running_.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
  if (!done_ && ready) return running_.get();
  return std::exchange(done_, std::nullopt);
}

}  // namespace shardit
