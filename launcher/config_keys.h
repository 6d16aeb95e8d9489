// The keys of a config seen as one list of dotted paths, read from the message's own description.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <utility>
#include <vector>

#include "launcher/run_config.pb.h"

namespace shardit {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// The message that `path` ("optimizer", "sample") leads to; null if a step of it does not exist.
const Descriptor* message_at(const std::vector<std::string>& path);

// "unknown key 'optimizer.lrr': did you mean 'optimizer.lr'?"; `path` ends in the key that does not exist.
std::string describe_unknown_key(const std::vector<std::string>& path);

// What a value of this key looks like: "a number", "fp32, tf32 or bf16", …
std::string expected_value(const FieldDescriptor& field);

// Every key that is set, in the order of run_config.proto, with its value as text.
std::vector<std::pair<std::string, std::string>> list_keys(const RunConfig& config);

// The value of a numeric key, the default where it is not set. REQUIRES: the key exists and is a number.
double number_at(const RunConfig& config, const std::string& key);

// Sets every key that is not set to its default, except keys that mean nothing beside the chosen process or data kind.
void fill_defaults(RunConfig& config);

// Throws UserError if a key is set that means nothing beside the chosen process or data kind.
void refuse_keys_without_meaning(const RunConfig& config);

}  // namespace shardit
