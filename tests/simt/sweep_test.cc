// Device kernels on the CPU: every card that has one, against its CPU kernel, under several orders of threads.
#include <gtest/gtest.h>

#include <set>

#include "core/cuda.h"
#include "ops/cards.h"
#include "tests/ops/device_nodes.h"

namespace shardit {
namespace {

class DeviceSweep : public testing::TestWithParam<const OpCard*> {};

NodeResult run_on_shim(const NodeCase& c, uint64_t seed, Addresses addresses) {
  const simt::Order order(seed);
  return run_on_device(c, *host_memory(), addresses);
}

TEST_P(DeviceSweep, KernelsMatchTheCpu) {
  for_device_nodes(*GetParam(), 31, [](const NodeCase& c, const NodeResult& cpu) {
    const NodeResult ascending = run_on_shim(c, 0, Addresses::kAligned);
    EXPECT_EQ(difference(c, cpu, ascending), "");
    EXPECT_EQ(difference(c, cpu, run_on_shim(c, 0, Addresses::kShifted)), "") << "at addresses that do not fit packs";
    EXPECT_EQ(difference(c, cpu, run_on_shim(c, 4, Addresses::kInPlace)), "") << "where outputs reuse inputs";
    for (uint64_t seed : {1, 2, 3}) {
      const NodeResult drawn = run_on_shim(c, seed, Addresses::kAligned);
      EXPECT_EQ(drawn.out, ascending.out) << c.name << ": the order of threads " << seed << " changes bits";
      EXPECT_EQ(drawn.violation, "") << c.name;
    }
  });
}

TEST_P(DeviceSweep, FusedKernelsHaveTheBitsOfTheirExpansion) {
  EXPECT_EQ(expansion_differences(*GetParam(), 31, *host_memory()), std::vector<std::string>{});
}

std::string card_name(const testing::TestParamInfo<const OpCard*>& info) { return info.param->name; }
INSTANTIATE_TEST_SUITE_P(Cards, DeviceSweep, testing::ValuesIn(all_cards()), card_name);

TEST(DeviceSweepCoverage, EveryDeviceKernelIsReached) {
  std::set<const OpCard*> reached;
  for (const OpCard* card : all_cards())
    for_device_nodes(*card, 31, [&](const NodeCase& c, const NodeResult&) { reached.insert(c.node->card); });
  for (const OpCard* card : all_cards())
    EXPECT_TRUE(!card->cuda || reached.contains(card)) << card->name << " has a device kernel that no sample reaches";
}

}  // namespace
}  // namespace shardit
