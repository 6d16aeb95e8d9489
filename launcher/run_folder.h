// The names of what lies in a run directory.
#pragma once

#include <string>

namespace shardit {

struct RunFolder {
  std::string path;

  std::string metrics() const { return path + "/metrics.jsonl"; }
  std::string config() const { return path + "/config.textproto"; }  // resolved
  std::string samples() const { return path + "/samples"; }          // step-00001000.png, …
  std::string traces() const { return path + "/traces"; }            // steps-3-5.json, for Perfetto
  std::string checkpoints() const { return path + "/checkpoints"; }
  std::string report() const { return path + "/report.html"; }
};

}  // namespace shardit
