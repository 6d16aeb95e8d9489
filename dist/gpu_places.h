// Which GPU each rank computes on: decided alike by all ranks, from what each sees. Knows nothing of CUDA.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace shardit {

// What a rank tells the others; plain bytes.
struct SeenGpus {
  static constexpr int kMost = 32;  // of one machine; more are not looked at
  using Id = std::array<char, 16>;  // the same for one GPU on all ranks of a machine, whatever its number there

  int32_t node = 0, local_rank = 0;  // of its machine (World::node), and among the ranks there
  int32_t count = 0;                 // that CUDA shows to this process
  int32_t may_share = 0;             // 1: several ranks may compute on one (dist/share_gpu.h)
  std::array<Id, kMost> ids{};
};

struct GpuPlaces {
  std::vector<int> gpu;      // by rank: the number that CUDA has for it in that process
  std::vector<int> sharers;  // by rank: how many ranks compute on its GPU, itself among them
  bool any_shared() const {
    return std::any_of(sharers.begin(), sharers.end(), [](int n) { return n > 1; });
  }
};

// `ranks` by rank. The n-th rank of a machine takes the n-th GPU that it sees, and the first again after the last: a
// launcher may show each rank another one (CUDA_VISIBLE_DEVICES). Throws DeviceError where ranks see different
// numbers of GPUs, UserError where several would compute on one and no rank may share, or not all run on one machine.
GpuPlaces place_on_gpus(const std::vector<SeenGpus>& ranks);

// For the log: "ranks 0-7 on GPUs 0 1 2 3 4 5 6 7", for each machine.
std::string describe(const GpuPlaces& places, const std::vector<SeenGpus>& ranks);

}  // namespace shardit
