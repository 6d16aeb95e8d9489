#include "launcher/run_log.h"

#include <iostream>

#include "launcher/format.h"

namespace shardit {

void RunLog::say(const std::string& line) {
  if (!speaks_) return;
  if (log_)
    log_->say(line);
  else
    std::cout << line << "\n";
}

void RunLog::open_files(FileSystem& files, const RunFolder& folder, const RunConfig::TensorBoard& events,
                        int64_t step) {
  if (!speaks_) return;
  metrics_.emplace(folder.metrics(), step);
  if (events.every_steps() > 0) tensorboard_.emplace(files, folder.path, events, step);
}

void RunLog::begin_steps(const RunFacts& facts) {
  if (speaks_) log_.emplace(Screen::standard_output(), facts);
}

void RunLog::step(const StepMetrics& metrics) {
  if (!speaks_) return;
  metrics_->step(metrics);
  if (tensorboard_) tensorboard_->step(metrics);
  log_->step(metrics);
}

void RunLog::event(const std::string& name, int64_t step, const Json& fields) {
  if (!speaks_) return;
  metrics_->event(name, step, fields);
  if (tensorboard_) tensorboard_->event(name, step, fields);
}

void RunLog::save(const FinishedSave& save) {
  const SaveReport& report = save.report;
  say(report.notes);
  event("save", save.step,
        {{"path", report.path},
         {"bytes", report.bytes},
         {"proof_ms", save.proof_ms},
         {"stall_ms", save.stall_ms},
         {"total_ms", save.total_ms},
         {"digest", report.root.hex()}});
  say("saved " + report.path + " (" + format_bytes(static_cast<double>(report.bytes)) + ", proof " +
      format_ms(save.proof_ms) + ", stalled " + format_ms(save.stall_ms) + ", took " + format_ms(save.total_ms) +
      "), digest " + report.root.hex());
}

}  // namespace shardit
