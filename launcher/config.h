// The run config as a program uses it: read, overridden, completed with every default, and checked.
//
// What the keys mean stands in launcher/run_config.proto. Whoever holds a RunConfig from here may rely on it: every
// key that has a meaning in this run is set, and the rules of config_check.cc hold. Mistakes are UserErrors that name
// the place, the key, what was expected, and the nearest real key.
#pragma once

#include <string>
#include <vector>

#include "launcher/run_config.pb.h"

namespace shardit {

// Reads the file at `path`, then applies `sets`, each "key.path=value" ("ema[0].decay=0.99"; an empty value takes the
// key back to its default). A bare word is accepted for a string.
RunConfig load_config(const std::string& path, const std::vector<std::string>& sets = {});

// The same from text; `name` stands for the file in errors. Reads what resolved_text wrote.
RunConfig parse_config(const std::string& text, const std::string& name, const std::vector<std::string>& sets = {});

// Canonical text of a complete config: equal configs give equal text. Stored in run directories and checkpoints.
std::string resolved_text(const RunConfig& config);

// One key whose value is not the same in two configs; a value is empty where the key is not set.
struct KeyDifference {
  std::string key;  // "optimizer.lr", "ema[0].decay"
  std::string before, after;
  bool may_change;  // whether a resumed run may differ in it
};
std::vector<KeyDifference> differences(const RunConfig& before, const RunConfig& after);

// The differences that a resume refuses: those that change what is computed.
std::vector<KeyDifference> resume_conflicts(const RunConfig& stored, const RunConfig& wanted);

// The rules between keys, config_check.cc. REQUIRES: defaults are filled in.
void check_config(const RunConfig& config);

}  // namespace shardit
