// `train --trace-steps A:B`: what ran when on every rank during some steps, as one file in Chrome's trace format, which
// Perfetto and chrome://tracing show. A process per rank, a lane per stream and per loader thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "checkpoints/file_system.h"
#include "core/program.h"
#include "core/trace.h"
#include "launcher/ranks.h"

namespace shardit {

struct StepRange {
  int64_t first = 0, last = 0;  // counted from 1, as in the log; both are traced
};

// "3:5" or "4". UserError for anything else.
StepRange parse_step_range(const std::string& text);

// Every rank has one and calls before and after each step; all ranks trace or none.
class StepTrace {
 public:
  // UserError if the run, which is at step `done` and stops after step `last`, does not make all of these steps.
  // REQUIRES: the first of them is not made yet.
  StepTrace(const StepRange& steps, int64_t done, int64_t last, Ranks& ranks);

  Trace& trace() { return trace_; }

  // `step` is about to be made, counted from 1.
  void before(int64_t step);
  // `step` is over. After the last of the range, writes the file and returns its path, once.
  std::optional<std::string> after(int64_t step, Program& program, FileSystem& files, const std::string& folder);

 private:
  std::string events() const;

  StepRange steps_;
  Ranks& ranks_;
  Trace trace_;
  int64_t origin_ns_ = 0;  // when all ranks were at the start of the first step, by this rank's clock
};

}  // namespace shardit
