// What a training run tells: the log on standard output, metrics.jsonl and TensorBoard's files. Every rank makes the
// same calls; only rank 0 speaks and writes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/metrics.h"
#include "launcher/progress.h"
#include "launcher/run_folder.h"
#include "launcher/saver.h"
#include "launcher/tensorboard.h"

namespace shardit {

class RunLog {
 public:
  explicit RunLog(bool speaks) : speaks_(speaks) {}

  void say(const std::string& line);  // above the progress bar, once there is one
  void say(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) say(line);
  }

  // Opens metrics.jsonl and the event file of a run that goes on from `step`.
  void open_files(FileSystem& files, const RunFolder& folder, const RunConfig::TensorBoard& events, int64_t step);
  void begin_steps(const RunFacts& facts);  // the progress bar starts

  void step(const StepMetrics& metrics);
  void event(const std::string& name, int64_t step, const Json& fields = Json::object());
  void save(const FinishedSave& save);

 private:
  bool speaks_;
  std::optional<MetricsWriter> metrics_;
  std::optional<TensorBoard> tensorboard_;
  std::optional<StepLog> log_;
};

}  // namespace shardit
