// What a run says of corrupt images that it goes on without (data.on_corrupt: skip).
#pragma once

#include <string>
#include <vector>

#include "data/sample_reader.h"
#include "launcher/ranks.h"
#include "launcher/run_log.h"

namespace shardit {

// Every rank gives its own; the log gets a WARNING for the first few, in order of samples, and metrics.jsonl one event
// "corrupt" with all of them. `split`: "train" or "validation".
void tell_corrupt(RunLog& log, Ranks& ranks, int64_t step, const std::string& split,
                  const std::vector<CorruptSample>& mine);

}  // namespace shardit
