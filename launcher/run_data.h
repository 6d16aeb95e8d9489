// The data of a run, as its config names it, checked against the model.
#pragma once

#include <memory>

#include "data/dataset.h"
#include "launcher/run_config.pb.h"

namespace shardit {

enum class Split { kTrain, kValidation };

// Throws UserError where images or labels do not fit the model, naming both.
std::unique_ptr<Dataset> open_dataset(const RunConfig& config, Split split);

}  // namespace shardit
