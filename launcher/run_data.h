// The data of a run, as its config names it, checked against the model.
#pragma once

#include <memory>

#include "data/dataset.h"
#include "data/sample_reader.h"
#include "launcher/run_config.pb.h"

namespace shardit {

// Both throw UserError where images or labels do not fit the model, naming both.
std::unique_ptr<Dataset> open_training_data(const RunConfig& config);
// `training`: the same config's. Classes that are known by name have its numbers here too.
std::unique_ptr<Dataset> open_validation_data(const RunConfig& config, const Dataset& training);

OnCorrupt on_corrupt(const RunConfig& config);

}  // namespace shardit
