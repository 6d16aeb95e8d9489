// Protobuf text and `--set` into a config, with errors that a person can act on. Used by config.cc.
#pragma once

#include <string>

#include "launcher/run_config.pb.h"

namespace shardit {

// Parses the whole of `text` into `config`. `name` is the file in errors: "configs/demo.textproto:7: …".
void parse_text(const std::string& text, const std::string& name, RunConfig& config);

// Applies one "key.path=value".
void apply_set(const std::string& set, RunConfig& config);

}  // namespace shardit
