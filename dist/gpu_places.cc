#include "dist/gpu_places.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "dist/diagnosis.h"  // list_ranks

namespace shardit {
namespace {

using Gpu = std::pair<int32_t, SeenGpus::Id>;  // in the job: machine, and which of it

std::string gpus(int count) { return std::to_string(count) + (count == 1 ? " GPU" : " GPUs"); }

void require_same_numbers(const std::vector<SeenGpus>& ranks) {
  std::vector<int> odd;
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    if (ranks[rank].count != ranks[0].count) odd.push_back(static_cast<int>(rank));
  if (odd.empty()) return;
  throw DeviceError("device=cuda: rank 0 sees " + gpus(ranks[0].count) + ", rank " + std::to_string(odd[0]) + " sees " +
                    gpus(ranks[static_cast<size_t>(odd[0])].count) +
                    (odd.size() > 1 ? " (other numbers on " + list_ranks(odd) + ")" : "") +
                    "; expected the same on all ranks\nlook at nvidia-smi and CUDA_VISIBLE_DEVICES on their machines");
}

std::map<int32_t, std::vector<int>> ranks_by_machine(const std::vector<SeenGpus>& ranks) {
  std::map<int32_t, std::vector<int>> machines;
  for (size_t rank = 0; rank < ranks.size(); ++rank) machines[ranks[rank].node].push_back(static_cast<int>(rank));
  return machines;
}

void require_share(const std::vector<SeenGpus>& ranks, const std::vector<int>& on_it) {
  const auto machines = ranks_by_machine(ranks);
  REQUIRE(std::any_of(ranks.begin(), ranks.end(), [](const SeenGpus& r) { return r.may_share; }),
          "device=cuda: " + list_ranks(on_it) + " would compute on one GPU: " +
              std::to_string(machines.at(ranks[static_cast<size_t>(on_it[0])].node).size()) +
              " ranks run on their machine, and CUDA shows " + gpus(ranks[0].count) +
              " to each\nstart one rank per GPU, or use device=cpu; for tests, shardit launch --share-gpu -- mpirun … "
              "lets them share it");
  REQUIRE(machines.size() == 1, "device=cuda: " + list_ranks(on_it) + " would share a GPU, and the ranks run on " +
                                    std::to_string(machines.size()) +
                                    " machines: those that share speak over the loopback of one\nstart one rank per "
                                    "GPU, or all ranks on one machine");
}

}  // namespace

GpuPlaces place_on_gpus(const std::vector<SeenGpus>& ranks) {
  require_same_numbers(ranks);
  const int count = std::min(ranks[0].count, SeenGpus::kMost);
  if (count == 0) throw DeviceError("device=cuda: CUDA finds no GPU");
  GpuPlaces places;
  std::map<Gpu, std::vector<int>> users;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    places.gpu.push_back(ranks[rank].local_rank % count);
    users[{ranks[rank].node, ranks[rank].ids[static_cast<size_t>(places.gpu.back())]}].push_back(
        static_cast<int>(rank));
  }
  places.sharers.resize(ranks.size());
  for (const auto& [gpu, on_it] : users) {
    if (on_it.size() > 1) require_share(ranks, on_it);
    for (int rank : on_it) places.sharers[static_cast<size_t>(rank)] = static_cast<int>(on_it.size());
  }
  return places;
}

std::string describe(const GpuPlaces& places, const std::vector<SeenGpus>& ranks) {
  std::string text;
  for (const auto& [machine, here] : ranks_by_machine(ranks)) {
    text += (text.empty() ? "" : "; ") + list_ranks(here) + " on GPU" + (here.size() == 1 ? "" : "s");
    for (int rank : here) text += " " + std::to_string(places.gpu[static_cast<size_t>(rank)]);
    if (places.any_shared()) text += ", shared";
  }
  return text;
}

}  // namespace shardit
