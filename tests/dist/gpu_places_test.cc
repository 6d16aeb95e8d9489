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

std::vector<SeenGpus> sharing(std::vector<SeenGpus> ranks) {
  for (SeenGpus& rank : ranks) rank.may_share = 1;
  return ranks;
}

template <typename E> std::string refusal(const std::vector<SeenGpus>& ranks) {
  try {
    place_on_gpus(ranks);
  } catch (const E& error) {
    return error.what();
  }
  return "nobody noticed";
}

TEST(GpuPlaces, TheNthRankOfAMachineTakesItsNthGpu) {
  const auto ranks = job(2, 4, 4);
  const GpuPlaces places = place_on_gpus(ranks);
  EXPECT_EQ(places.gpu, (Ints{0, 1, 2, 3, 0, 1, 2, 3}));
  EXPECT_EQ(places.sharers, Ints(8, 1));
  EXPECT_EQ(describe(places, ranks), "ranks 0-3 on GPUs 0 1 2 3; ranks 4-7 on GPUs 0 1 2 3");
  EXPECT_EQ(place_on_gpus(job(1, 2, 8)).gpu, (Ints{0, 1}));
}

TEST(GpuPlaces, RanksThatAreShownOneGpuEachTakeIt) {
  const GpuPlaces places = place_on_gpus(each_sees_its_own(2, 8));
  EXPECT_EQ(places.gpu, Ints(16, 0));
  EXPECT_EQ(places.sharers, Ints(16, 1));
}

TEST(GpuPlaces, MoreRanksThanGpusAreRefusedWithTheFix) {
  EXPECT_EQ(
      refusal<UserError>(job(2, 3, 2)),
      "device=cuda: ranks 0 2 would compute on one GPU: 3 ranks run on their machine, and CUDA shows 2 GPUs to "
      "each\nstart one rank per GPU, or use device=cpu; for tests, shardit launch --share-gpu -- mpirun … lets them "
      "share it");
  EXPECT_NE(refusal<UserError>(job(1, 4, 1)).find("ranks 0-3 would compute on one GPU"), std::string::npos);
}

// Two ranks that were shown the same one, though there are others.
TEST(GpuPlaces, OneGpuShownToTwoRanksIsFound) {
  auto ranks = each_sees_its_own(1, 4);
  ranks[3].ids[0] = ranks[1].ids[0];
  EXPECT_NE(refusal<UserError>(ranks).find("ranks 1 3 would compute on one GPU"), std::string::npos);
}

TEST(GpuPlaces, MayBeShared) {
  const auto ranks = sharing(job(1, 4, 1));
  const GpuPlaces places = place_on_gpus(ranks);
  EXPECT_EQ(places.gpu, Ints(4, 0));
  EXPECT_EQ(places.sharers, Ints(4, 4));
  EXPECT_EQ(describe(places, ranks), "ranks 0-3 on GPUs 0 0 0 0, shared");
  EXPECT_TRUE(places.any_shared());
  const GpuPlaces uneven = place_on_gpus(sharing(job(1, 3, 2)));
  EXPECT_EQ(uneven.sharers, (Ints{2, 1, 2}));
  EXPECT_TRUE(uneven.any_shared());
  EXPECT_FALSE(place_on_gpus(sharing(job(1, 2, 2))).any_shared());
}

// launch tells only the ranks of its own machine that they may: all decide alike nevertheless.
TEST(GpuPlaces, AreSharedOnOneMachineOnly) {
  auto ranks = job(2, 2, 1);
  ranks[0].may_share = ranks[1].may_share = 1;
  EXPECT_EQ(refusal<UserError>(ranks),
            "device=cuda: ranks 0-1 would share a GPU, and the ranks run on 2 machines: those that share speak over "
            "the loopback of one\nstart one rank per GPU, or all ranks on one machine");
  EXPECT_EQ(place_on_gpus(sharing(job(2, 2, 2))).gpu, (Ints{0, 1, 0, 1}));
}

TEST(GpuPlaces, RanksThatSeeDifferentNumbersAreNamed) {
  auto ranks = job(2, 4, 4);
  ranks[6].count = 3;
  EXPECT_EQ(
      refusal<DeviceError>(ranks),
      "device=cuda: rank 0 sees 4 GPUs, rank 6 sees 3 GPUs; expected the same on all ranks\nlook at nvidia-smi and "
      "CUDA_VISIBLE_DEVICES on their machines");
  ranks[7].count = 0;
  EXPECT_NE(refusal<DeviceError>(sharing(ranks)).find("(other numbers on ranks 6-7)"), std::string::npos);
}

TEST(GpuPlaces, NoGpuIsNoPlace) { EXPECT_EQ(refusal<DeviceError>(job(1, 2, 0)), "device=cuda: CUDA finds no GPU"); }

TEST(GpuPlaces, LookAtNoMoreGpusThanTheyHaveIdsFor) {
  const std::vector<int> gpu = place_on_gpus(sharing(job(1, SeenGpus::kMost + 8, 1000))).gpu;
  EXPECT_EQ(gpu[SeenGpus::kMost - 1], SeenGpus::kMost - 1);
  EXPECT_EQ(gpu[SeenGpus::kMost + 7], 7);
}

}  // namespace
}  // namespace shardit
