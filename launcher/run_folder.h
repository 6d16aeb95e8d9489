// The names of what lies in a run directory.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace shardit {

struct RunFolder {
  std::string path;

  std::string metrics() const { return path + "/metrics.jsonl"; }
  std::string config() const { return path + "/config.textproto"; }  // resolved
  std::string samples() const { return path + "/samples"; }
  std::string tensorboard() const { return path + "/tensorboard"; }  // event files
  std::string traces() const { return path + "/traces"; }  // steps-3-5.json, for Perfetto
  std::string checkpoints() const { return path + "/checkpoints"; }
  std::string report() const { return path + "/report.html"; }

  // The pictures drawn after a step, below path: samples/step-00001000.png.
  static std::string sample(int64_t step) {
    char name[48];
    std::snprintf(name, sizeof name, "samples/step-%08lld.png", static_cast<long long>(step));
    return name;
  }
};

}  // namespace shardit
