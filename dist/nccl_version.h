// Which versions of NCCL will do, in the form in which the library tells its own: 22809 is 2.28.9.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"

namespace shardit {

// The first that ends several communicators at once, as a group; communicators that do not block, and ncclCommSplit,
// are older.
inline constexpr int kOldestNccl = 22203;

inline std::string nccl_version_text(int version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

// `where`: the library's file. Versions before 2.9 are told in another form, whose numbers are smaller.
inline void check_nccl_version(int version, const std::string& where) {
  if (version >= kOldestNccl) return;
  const std::string text = version < 10000 ? std::to_string(version / 1000) + "." + std::to_string(version / 100 % 10) +
                                                 "." + std::to_string(version % 100)
                                           : nccl_version_text(version);
  throw DeviceError("NCCL is " + text + " (" + where + "); expected " + nccl_version_text(kOldestNccl) +
                    " or later\ninstall a newer libnccl2, or put its folder in front of LD_LIBRARY_PATH");
}

// All ranks of a job must have one version: its messages are those of no other. `versions` by rank.
inline void check_same_nccl(const std::vector<std::string>& versions) {
  for (size_t rank = 1; rank < versions.size(); ++rank)
    if (versions[rank] != versions[0])
      throw DeviceError("rank " + std::to_string(rank) + " has NCCL " + versions[rank] + " where rank 0 has " +
                        versions[0] +
                        "; expected one version on all machines\ninstall the same libnccl2 on its machine");
}

}  // namespace shardit
