#include "dist/watchdog.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/error.h"
#include "dist/thread_world.h"

namespace shardit {
namespace {

constexpr WatchdogOptions kQuick = {.limit_s = 0.5, .answer_s = 5};

// The diagnosis on each rank of a body that hangs; the watchdogs end it.
std::vector<std::string> diagnoses(int ranks, const ThreadWorldOptions& options,
                                   const std::function<void(World&, Communicator&)>& body) {
  std::vector<std::string> texts(static_cast<size_t>(ranks));
  EXPECT_THROW(run_ranks(ranks, options,
                         [&](World& world) {
                           const auto group = world.make_group("world");
                           const Watchdog watchdog(world, kQuick, [&](const std::string& text, bool) {
                             texts[static_cast<size_t>(world.rank())] = text;
                             world.abort(6, text);
                           });
                           body(world, *group);
                         }),
               CommError);
  return texts;
}

// Those that say something say this; the first to speak ends the others, who may be silent.
void expect_some_say(const std::vector<std::string>& texts, const std::string& start) {
  int speakers = 0;
  for (const std::string& text : texts) {
    if (text.empty()) continue;
    EXPECT_EQ(text.substr(0, start.size()), start) << text;
    ++speakers;
  }
  EXPECT_GE(speakers, 1);
}

TEST(Watchdog, TellsALostMessageFromALateRank) {
  const auto texts = diagnoses(3, {.drop = {{.from = 0, .to = 1, .index = 2}}}, [](World&, Communicator& group) {
    for (int i = 0; i < 4; ++i) group.barrier("step");  // rank 2 leaves the third and goes on to the fourth
  });
  expect_some_say(
      texts,
      "a message was lost: ranks 0-1 wait in barrier \"step\" (group world, call 3), which all have entered "
      "and rank 2 left\n");
}

TEST(Watchdog, NamesARankThatIssuedAnotherCall) {
  const auto texts = diagnoses(3, {}, [](World& world, Communicator& group) {
    std::vector<char> part(8), all(24);
    group.all_gather("blocks.0", part.data(), all.data(), 8);
    group.all_gather(world.rank() == 1 ? "blocks.2" : "blocks.1", part.data(), all.data(), 8);
  });
  expect_some_say(
      texts,
      "rank 1 issued all_gather \"blocks.2\" (group world, call 2, 8 bytes) where ranks 0 2 issued all_gather "
      "\"blocks.1\" (group world, call 2, 8 bytes)\n");
}

TEST(Watchdog, IsQuietWhileCallsEnd) {
  run_ranks(2, {}, [](World& world) {
    const auto group = world.make_group("world");
    const Watchdog watchdog(world, {.limit_s = 2}, [](const std::string& text, bool) { ADD_FAILURE() << text; });
    for (int i = 0; i < 8; ++i) {  // longer than the limit, all together
      if (world.rank() == i % 2) std::this_thread::sleep_for(std::chrono::milliseconds(300));
      group->barrier("step");
    }
  });
}

TEST(Watchdog, EndsAtOnceWhenItIsNotNeeded) {
  const int64_t start = steady_now_ns();
  {
    const Watchdog watchdog(*make_single_world(), {}, [](const std::string&, bool) {});
  }
  EXPECT_LT(steady_now_ns() - start, 5'000'000'000);
}

}  // namespace
}  // namespace shardit
