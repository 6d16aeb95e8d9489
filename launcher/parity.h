// Parity: a golden file run through the program that training uses, section by section.
#pragma once

#include <string>
#include <vector>

#include "core/device.h"
#include "ops/cast.h"

namespace shardit {

struct ParityResult {
  std::string file, section;
  enum Status { kOk, kFail, kSkipped, kUnjudged } status = kSkipped;
  double error = 0, tolerance = 0;
};

const char* status_text(ParityResult::Status status);  // "ok", "FAIL", "skipped", "unjudged"

// All sections of one golden, in the order of the command line's documentation. Throws UserError for a file that is
// missing or that this build cannot judge, and for TF32 on a CPU; IoError for a file that is not a golden.
std::vector<ParityResult> run_parity(const std::string& path, const Precision& precision, Device& device, int threads);

}  // namespace shardit
