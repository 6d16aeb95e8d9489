#include "core/nvtx_range.h"

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>

namespace shardit {

// The library sets itself up at the first call and does not keep other threads' first calls from reading what it sets.
NvtxRange::NvtxRange(const char* name) {
  [[maybe_unused]] static const bool ready = (nvtxInitialize(nullptr), true);
  nvtxRangePushA(name);
}
NvtxRange::~NvtxRange() { nvtxRangePop(); }

}  // namespace shardit
#else

namespace shardit {

NvtxRange::NvtxRange(const char*) {}
NvtxRange::~NvtxRange() {}

}  // namespace shardit
#endif
