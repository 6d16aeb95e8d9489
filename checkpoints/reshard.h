// A checkpoint written again as another number of ranks would have written it, in bounded memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoints/directory.h"
#include "checkpoints/save.h"
#include "core/layout.h"

namespace shardit {

inline constexpr int64_t kReshardBudgetBytes = int64_t{2} << 30;

// Checked, and not begun: nothing was written yet.
struct ReshardPlan {
  const Checkpoint& from;
  Layout layout;  // padded for `ranks`
  std::vector<std::string> kinds;
  int ranks = 1;
  int64_t slice_elements = 0;  // read and written at a time
};

// `layout` is that of the checkpoint's model, not padded. `budget_bytes` bounds what resharding takes beyond the
// program itself: a slice of elements, and tables of about 1 KiB for each tensor and each part of one. UserError if the
// checkpoint is of another model, or if the budget is too small: it says the least that works.
// REQUIRES: `from` outlives the plan.
ReshardPlan plan_reshard(const Checkpoint& from, const Layout& layout, int ranks, int64_t budget_bytes);

// Writes RUN/checkpoints/step-N, as a save does. The files are those that a save by `ranks` ranks writes, byte by byte;
// the root digest stays. UserError if RUN has that step; damage in the source is an IoError, and nothing is left.
SaveReport reshard(FileSystem& files, const ReshardPlan& plan, const std::string& run_dir);

}  // namespace shardit
