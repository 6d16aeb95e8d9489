// `shardit report`: one HTML page about a run, which needs nothing beside itself: style, charts and images are inside.
// It reads the run directory only, so it works while the run goes on and long after it.
#pragma once

#include <string>
#include <vector>

#include "launcher/metrics.h"

namespace shardit {

struct SampleImage {
  std::string name;  // "step-00001000.png"
  std::string png;   // the file's bytes
};

// All that the page shows.
struct RunRecord {
  std::string name;  // of the run directory
  MetricsFile metrics;
  std::string config_text;           // resolved config; empty if the folder has none
  std::vector<SampleImage> samples;  // in order, the last is the newest; at most kMostSamples, evenly spaced
  size_t samples_on_disk = 0;
};
inline constexpr size_t kMostSamples = 13;

// Throws UserError if `run_dir` is not a run directory, IoError if its metrics are corrupt.
RunRecord read_run(const std::string& run_dir);

std::string report_page(const RunRecord& run);  // IoError for an event whose fields are of another kind

// Writes RUN_DIR/report.html and returns its path. The old page stays whole until the new one is.
std::string write_report(const std::string& run_dir);

}  // namespace shardit
