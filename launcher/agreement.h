// Whether all ranks of a job run the same thing: looked at before they exchange anything else, so that a mistake is an
// error that names the rank instead of a hang.
#pragma once

#include "core/program.h"
#include "launcher/ranks.h"
#include "launcher/trainer.h"

namespace shardit {

// UserError naming the first rank with another program file, config (and the key), or flags than rank 0.
void check_same_start(Ranks& ranks, const RunConfig& config, const TrainOptions& options);

// UserError naming the first rank that reads other data than rank 0, as its fingerprint tells. `which`: "training" or
// "validation".
void check_same_data(Ranks& ranks, const std::string& which, const std::string& fingerprint);

// An error with exit code 3 naming the first rank whose collectives differ from rank 0's in order, op, bytes, label or
// group, and the first that does. Theirs is one total order over all groups: this is what it hashes.
void check_same_collectives(Ranks& ranks, const CompiledProgram& program);

}  // namespace shardit
