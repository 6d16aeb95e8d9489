#include "dist/gpu_places.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace shardit {
namespace {

using Ints = std::vector<int>;

SeenGpus::Id id_of(int gpu) { return {'G', 'P', 'U', static_cast<char>(gpu)}; }

// `per_machine` ranks on each of `machines`; each sees all `count` GPUs of its machine.
std::vector<SeenGpus> job(int machines, int per_machine, int count) {
  std::vector<SeenGpus> ranks;
  for (int m = 0; m < machines; ++m)
    for (int r = 0; r < per_machine; ++r) {
      SeenGpus seen{.node = m * per_machine, .local_rank = r, .count = count};
      for (int gpu = 0; gpu < std::min(count, SeenGpus::kMost); ++gpu) seen.ids[static_cast<size_t>(gpu)] = id_of(gpu);
      ranks.push_back(seen);
    }
  return ranks;
}

// As srun --gpus-per-task=1 does it: each rank sees its own as number 0.
std::vector<SeenGpus> each_sees_its_own(int machines, int per_machine) {
  std::vector<SeenGpus> ranks = job(machines, per_machine, 1);
  for (SeenGpus& rank : ranks) rank.ids[0] = id_of(rank.local_rank);
  return ranks;
}

template <typename E> std::string refusal(const std::vector<SeenGpus>& ranks, bool share = false) {
  try {
    place_on_gpus(ranks, share);
  } catch (const E& error) {
    return error.what();
  }
  return "nobody noticed";
}

TEST(GpuPlaces, TheNthRankOfAMachineTakesItsNthGpu) {
  const auto ranks = job(2, 4, 4);
  const GpuPlaces places = place_on_gpus(ranks, false);
  EXPECT_EQ(places.gpu, (Ints{0, 1, 2, 3, 0, 1, 2, 3}));
  EXPECT_EQ(places.sharers, Ints(8, 1));
  EXPECT_EQ(describe(places, ranks), "ranks 0-3 on GPUs 0 1 2 3; ranks 4-7 on GPUs 0 1 2 3");
  EXPECT_EQ(place_on_gpus(job(1, 2, 8), false).gpu, (Ints{0, 1}));
}

TEST(GpuPlaces, RanksThatAreShownOneGpuEachTakeIt) {
  const GpuPlaces places = place_on_gpus(each_sees_its_own(2, 8), false);
  EXPECT_EQ(places.gpu, Ints(16, 0));
  EXPECT_EQ(places.sharers, Ints(16, 1));
}

TEST(GpuPlaces, MoreRanksThanGpusAreRefusedWithTheFix) {
  EXPECT_EQ(refusal<UserError>(job(2, 3, 2)),
            "device=cuda: ranks 0 2 would compute on one GPU: 3 ranks run on their machine, and CUDA shows 2 GPUs to "
            "each\nstart one rank per GPU; for tests, shardit launch --share-gpu -- mpirun … lets them share it");
  EXPECT_NE(refusal<UserError>(job(1, 4, 1)).find("ranks 0-3 would compute on one GPU"), std::string::npos);
}

// Two ranks that were shown the same one, though there are others.
TEST(GpuPlaces, OneGpuShownToTwoRanksIsFound) {
  auto ranks = each_sees_its_own(1, 4);
  ranks[3].ids[0] = ranks[1].ids[0];
  EXPECT_NE(refusal<UserError>(ranks).find("ranks 1 3 would compute on one GPU"), std::string::npos);
}

TEST(GpuPlaces, MayBeShared) {
  const auto ranks = job(1, 4, 1);
  const GpuPlaces places = place_on_gpus(ranks, true);
  EXPECT_EQ(places.gpu, Ints(4, 0));
  EXPECT_EQ(places.sharers, Ints(4, 4));
  EXPECT_EQ(describe(places, ranks), "ranks 0-3 on GPUs 0 0 0 0, shared");
  EXPECT_EQ(place_on_gpus(job(1, 3, 2), true).sharers, (Ints{2, 1, 2}));
}

TEST(GpuPlaces, RanksThatSeeDifferentNumbersAreNamed) {
  auto ranks = job(2, 4, 4);
  ranks[6].count = 3;
  EXPECT_EQ(
      refusal<DeviceError>(ranks),
      "device=cuda: rank 0 sees 4 GPUs, rank 6 sees 3 GPUs; expected the same on all ranks\nlook at nvidia-smi and "
      "CUDA_VISIBLE_DEVICES on their machines");
  ranks[7].count = 0;
  EXPECT_NE(refusal<DeviceError>(ranks, true).find("(other numbers on ranks 6-7)"), std::string::npos);
}

TEST(GpuPlaces, NoGpuIsNoPlace) { EXPECT_EQ(refusal<DeviceError>(job(1, 2, 0)), "device=cuda: CUDA finds no GPU"); }

TEST(GpuPlaces, LookAtNoMoreGpusThanTheyHaveIdsFor) {
  const std::vector<int> gpu = place_on_gpus(job(1, SeenGpus::kMost + 8, 1000), true).gpu;
  EXPECT_EQ(gpu[SeenGpus::kMost - 1], SeenGpus::kMost - 1);
  EXPECT_EQ(gpu[SeenGpus::kMost + 7], 7);
}

}  // namespace
}  // namespace shardit
