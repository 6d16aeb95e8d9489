// A stretch of this thread's work under a name, for NVIDIA's profilers (`nsys profile shardit train …`): they have
// themselves told by NVTX. Where none listens, and in a build without NVTX's headers, it costs a call and a branch.
#pragma once

namespace shardit {

class NvtxRange {
 public:
  explicit NvtxRange(const char* name);
  ~NvtxRange();
  NvtxRange(const NvtxRange&) = delete;
  NvtxRange& operator=(const NvtxRange&) = delete;
};

}  // namespace shardit
