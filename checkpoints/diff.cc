#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <set>

#include "checkpoints/inspect.h"
#include "checkpoints/load.h"
#include "checkpoints/widen.h"

namespace shardit {
namespace {

// The largest |a - b| and the largest magnitude of what was added. Infinities and NaNs give no scale.
struct Spread {
  double max_abs = 0, magnitude = 0;

  void add(double a, double b) {
    for (double x : {std::abs(a), std::abs(b)})
      if (std::isfinite(x)) magnitude = std::max(magnitude, x);
    if (std::isnan(a) != std::isnan(b)) max_abs = std::numeric_limits<double>::infinity();
    if (!std::isnan(a) && !std::isnan(b) && a != b) max_abs = std::max(max_abs, std::abs(a - b));
  }
  double relative() const {
    if (max_abs == 0 || std::isinf(max_abs)) return max_abs;
    return max_abs / magnitude;
  }
};

// One side of the comparison: slices of a tensor, verified when all were read.
class Side {
 public:
  Side(FileSystem& files, const Checkpoint& checkpoint, const TensorEntry& tensor)
      : checkpoint_(checkpoint),
        reader_(files, checkpoint),
        tensor_(tensor) {}
  const std::vector<double>& read(int64_t first, int64_t count) {
    bytes_.resize(count * size_of(tensor_.dtype));
    sum_ += reader_.read(tensor_, first, count, bytes_.data());
    widen(bytes_.data(), tensor_.dtype, count, wide_);
    return wide_;
  }
  void check() const { check_digest(checkpoint_, tensor_, sum_); }

 private:
  const Checkpoint& checkpoint_;
  CheckpointReader reader_;
  const TensorEntry& tensor_;
  std::vector<char> bytes_;
  std::vector<double> wide_;
  ChunkSum sum_;
};

TensorDifference compare(FileSystem& files, const Checkpoint& a, const Checkpoint& b, const TensorEntry& in_a,
                         const TensorEntry& in_b) {
  if (in_a.dtype != in_b.dtype || !(in_a.shape == in_b.shape)) return {TensorDifference::kAnotherType, in_a.name};
  Side side_a(files, a, in_a), side_b(files, b, in_b);
  Spread spread;
  for_each_slice(in_a.shape.numel(), [&](int64_t first, int64_t count) {
    const std::vector<double>&x = side_a.read(first, count), &y = side_b.read(first, count);
    for (int64_t i = 0; i < count; ++i) spread.add(x[i], y[i]);
  });
  side_a.check();
  side_b.check();
  const bool equal = in_a.digest == in_b.digest;  // both digests were just checked against the bytes
  return {equal ? TensorDifference::kEqual : TensorDifference::kDiffers, in_a.name, spread.max_abs, spread.relative()};
}

std::string line_of(const TensorDifference& tensor) {
  char numbers[96];
  std::snprintf(numbers, sizeof numbers, "max abs %.3g, relative %.3g", tensor.max_abs, tensor.relative);
  switch (tensor.kind) {
    case TensorDifference::kEqual:
      return tensor.name + ": equal\n";
    case TensorDifference::kDiffers:
      return tensor.name + ": " + numbers + "\n";
    case TensorDifference::kOnlyInA:
      return tensor.name + ": only in the first\n";
    case TensorDifference::kOnlyInB:
      return tensor.name + ": only in the second\n";
    case TensorDifference::kAnotherType:
      return tensor.name + ": another shape or dtype\n";
  }
  return "";
}

}  // namespace

bool TensorDifference::equal_within(double tolerance) const {
  return kind == kEqual || (kind == kDiffers && tolerance > 0 && relative <= tolerance);
}

std::string Difference::text() const {
  std::string lines;
  size_t count = 0;
  for (const TensorDifference& tensor : tensors) {
    if (tensor.kind == TensorDifference::kEqual) ++count;
    lines += line_of(tensor);
  }
  return lines + std::to_string(count) + " of " + std::to_string(tensors.size()) + " tensors have the same bits; " +
         (equal ? "equal" : "different") + "\n";
}

Difference diff_checkpoints(FileSystem& files, const Checkpoint& a, const Checkpoint& b, double tolerance) {
  std::set<std::string> names;
  for (const TensorEntry& tensor : a.manifest.tensors) names.insert(tensor.name);
  for (const TensorEntry& tensor : b.manifest.tensors) names.insert(tensor.name);
  Difference difference;
  difference.equal = true;
  for (const std::string& name : names) {
    const TensorEntry *in_a = a.manifest.find(name), *in_b = b.manifest.find(name);
    if (!in_a)
      difference.tensors.push_back({TensorDifference::kOnlyInB, name});
    else if (!in_b)
      difference.tensors.push_back({TensorDifference::kOnlyInA, name});
    else
      difference.tensors.push_back(compare(files, a, b, *in_a, *in_b));
    difference.equal = difference.equal && difference.tensors.back().equal_within(tolerance);
  }
  return difference;
}

}  // namespace shardit
