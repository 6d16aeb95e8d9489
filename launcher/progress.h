// What a person watches: the log line of a step, and a bar with the time left.
//
// On a terminal the bar is redrawn in place, below the lines that stay; elsewhere (a file, a pipe, a batch system)
// there are plain lines only. Times are seconds of one steady clock and are arguments, so that tests need not wait.
// Rank 0's main thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <iosfwd>
#include <string>

#include "launcher/metrics.h"

namespace shardit {

double steady_seconds();  // a steady clock, for the `now` arguments

// Where progress goes and how it may look.
struct Screen {
  std::ostream* out;
  bool terminal = false;  // whether lines can be redrawn
  int columns = 80;       // of a terminal

  static Screen standard_output();
};

// "sampling  [=====>    ]  50%  32/64 images, 3.1/s, eta 10s"
class ProgressBar {
 public:
  ProgressBar(Screen screen, std::string label, int64_t total, std::string unit, double now = steady_seconds());
  ~ProgressBar();  // leaves the cursor on a line of its own

  void update(int64_t done, double now = steady_seconds());
  // For what was done before this start (a resumed run): it counts in the bar and not in the speed.
  void start_at(int64_t done) { first_ = done_ = done; }
  bool on_terminal() const { return screen_.terminal; }
  // A line that stays, above the bar.
  void print_line(const std::string& line);
  // Replaces "32/64 images, 3.1/s" beside the bar.
  void set_details(std::string details) { details_ = std::move(details); }

 private:
  void draw(double now);
  std::string text(double now) const;

  Screen screen_;
  std::string label_, unit_, details_;
  int64_t total_, done_ = 0, first_ = 0;
  double start_, last_draw_;
  bool drawn_ = false;
};

// What a log line needs beside the step's own metrics.
struct RunFacts {
  int64_t steps = 0;       // of the whole run
  int64_t first_step = 0;  // steps done before this start
  int ranks = 1;
  int64_t planned_bytes = 0;  // per rank; 0 if unknown
  double peak_tflops = 0;     // dense, per rank; 0 if unknown
};

// step 1200/3000000 | loss 0.1482 | gnorm 0.231 | lr 1.00e-4 | 254 ms | 1008 img/s (126/rank) | mfu 39.9% (989 TF
// dense) | mem 41.2/46.0 GiB | comm exposed 3.1% | data 0.2% | slowest rank 5 266 ms | eta 8d19h
// `images_per_s` is the smoothed speed; a negative `eta_s` is left out.
std::string format_step(const StepMetrics& metrics, const RunFacts& facts, double images_per_s, double eta_s);

// The log of a training run: the first steps, then a line every few seconds, and the last step.
class StepLog {
 public:
  StepLog(Screen screen, RunFacts facts, double now = steady_seconds());

  void step(const StepMetrics& metrics, double now = steady_seconds());
  void say(const std::string& line) { bar_.print_line(line); }  // events: a save, a sample

 private:
  double typical(const std::deque<double>& recent) const;  // median

  RunFacts facts_;
  ProgressBar bar_;
  double last_line_;
  std::deque<double> speeds_, step_ms_;  // of recent steps
};

}  // namespace shardit
