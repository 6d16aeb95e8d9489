// What `shardit checkpoint inspect` and `diff` say.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoints/directory.h"

namespace shardit {

// Of many files only the first are listed, and which ranges of which tensor lie where is left out, unless asked for.
std::string describe_text(const Checkpoint& checkpoint, bool with_tensors);
std::string describe_json(const Checkpoint& checkpoint);  // one object, tensors and shard map included
std::string digest_line(const Checkpoint& checkpoint);    // "digest <hex>"
std::string digest_json(const Checkpoint& checkpoint);    // {"digest": "<hex>"}

struct TensorDifference {
  enum Kind { kEqual, kDiffers, kOnlyInA, kOnlyInB, kAnotherType } kind = kEqual;
  std::string name;
  double max_abs = 0;   // largest |a - b|; infinite where just one of the two is NaN
  double relative = 0;  // max_abs over the largest magnitude in either tensor

  bool equal_within(double tolerance) const;  // 0: the same bits
};

struct Difference {
  std::vector<TensorDifference> tensors;  // by name
  bool equal = false;                     // all of them, within the tolerance

  std::string text() const;  // a line for each tensor, and a summary
};

// Reads both, verifying digests on the way. A tensor is equal within X > 0 if its relative difference is at most X.
Difference diff_checkpoints(FileSystem& files, const Checkpoint& a, const Checkpoint& b, double tolerance = 0);

}  // namespace shardit
