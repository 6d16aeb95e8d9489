// Several ranks on one GPU, for tests of the real thing where there is one GPU: `shardit launch --share-gpu` asks for
// it.
//
// NCCL refuses two ranks on one GPU of one host. It tells hosts apart by a name that each process may choose
// (NCCL_HOSTID), so each rank says that it is a host of its own; what goes by the machine's memory is then out of the
// question, and the ranks speak over the loopback interface. Slow, and otherwise the same: kernels, streams, order,
// faults. Kernels of different processes take turns on a GPU, and a collective waits for its peers on the GPU: so it
// shall take as little of it as it can, one channel.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace shardit {

inline constexpr const char* kShareGpuVariable = "SHARDIT_SHARE_GPU";  // set to 1 by launch, for its ranks

bool gpu_is_shared();

// What NCCL must be told through its environment.
std::vector<std::pair<const char*, std::string>> nccl_settings_to_share(int rank);

// Tells it, but for what the user has set. Before NCCL is loaded.
void let_nccl_share(int rank);

}  // namespace shardit
