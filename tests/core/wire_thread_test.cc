#include "core/wire_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/error.h"
#include "tests/core/test_ops.h"

namespace shardit {
namespace {

// Kernels get a number through their scratch pointer.
KernelArgs numbered(int64_t number) { return {.workspace = reinterpret_cast<std::byte*>(number)}; }
int64_t number_of(const KernelArgs& k) { return reinterpret_cast<int64_t>(k.workspace); }

std::vector<int64_t> ran;
const OpCard note = [] {
  OpCard c = test::card("note", Stream::kWire);
  c.cpu = [](const KernelArgs& k) { ran.push_back(number_of(k)); };
  return c;
}();
const OpCard failing = [] {
  OpCard c = test::card("failing", Stream::kWire);
  c.cpu = [](const KernelArgs&) { throw CommError("the wire is cut"); };
  return c;
}();
std::atomic<bool> gate_open = false;
const OpCard gate = [] {
  OpCard c = test::card("gate", Stream::kWire);
  c.cpu = [](const KernelArgs&) {
    while (!gate_open) std::this_thread::yield();
  };
  return c;
}();

TEST(WireThread, RunsAllInTheOrderOfIssueHoweverMany) {
  ran.clear();
  WireThread wire;
  for (int64_t i = 0; i < 1000; ++i) wire.issue(note, numbered(i), nullptr);
  wire.drain();
  ASSERT_EQ(ran.size(), 1000u);
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(ran[i], i);
}

TEST(WireThread, RunsBesideItsCallerAndIsWaitedForByCount) {
  ran.clear();
  gate_open = false;
  WireThread wire;
  wire.issue(note, numbered(1), nullptr);
  const uint64_t first = wire.issued();
  wire.issue(gate, {}, nullptr);
  wire.issue(note, numbered(2), nullptr);
  wire.wait_for(first);
  EXPECT_EQ(ran, std::vector<int64_t>{1}) << "the second kernel waits for the caller, and the third for it";
  gate_open = true;
  wire.drain();
  EXPECT_EQ(ran.size(), 2u);
}

TEST(WireThread, AFailureStopsWhatComesAfterAndIsToldOnce) {
  ran.clear();
  WireThread wire;
  wire.issue(note, numbered(1), nullptr);
  wire.issue(failing, {}, nullptr);
  wire.issue(note, numbered(2), nullptr);
  EXPECT_THROW(wire.drain(), CommError);
  EXPECT_EQ(ran, std::vector<int64_t>{1});
  wire.issue(note, numbered(3), nullptr);
  wire.drain();
  EXPECT_EQ(ran, (std::vector<int64_t>{1, 3}));
}

TEST(WireThread, FinishesWhatWasIssuedBeforeItEnds) {
  ran.clear();
  {
    WireThread wire;
    for (int64_t i = 0; i < 10; ++i) wire.issue(note, numbered(i), nullptr);
  }
  EXPECT_EQ(ran.size(), 10u);
}

}  // namespace
}  // namespace shardit
