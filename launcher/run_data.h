// The data of a run, as its config names it, checked against the model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/sample_reader.h"
#include "launcher/run_config.pb.h"

namespace shardit {

// Both throw UserError where images or labels do not fit the model, naming both.
std::unique_ptr<Dataset> open_training_data(const RunConfig& config);
// `training`: the same config's. Classes that are known by name have its numbers here too.
std::unique_ptr<Dataset> open_validation_data(const RunConfig& config, const Dataset& training);

// What the training data's classes are called; empty where they are called by number. Images are not listed for it.
// `fingerprint`: that of the data a checkpoint was trained on, or empty. Throws Error where the data is gone or has
// other classes now.
std::vector<std::string> training_class_names(const RunConfig& config, const std::string& fingerprint);

OnCorrupt on_corrupt(const RunConfig& config);

}  // namespace shardit
