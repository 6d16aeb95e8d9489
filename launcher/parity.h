// Parity: a golden file run through the program that training uses, section by section.
#pragma once

#include <string>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"

namespace shardit {

struct ParityResult {
  std::string file, section;
  enum Status { kOk, kFail, kSkipped, kUnjudged } status = kSkipped;
  double error = 0, tolerance = 0;
};

const char* status_text(ParityResult::Status status);  // "ok", "FAIL", "skipped", "unjudged"

// All sections of one golden, in the order of the command line's documentation. `compute`: fp32 or bf16.
// Throws UserError for a file that is missing or that this build cannot judge, IoError for one that is not a golden.
std::vector<ParityResult> run_parity(const std::string& path, DType compute, Device& device, int threads);

}  // namespace shardit
