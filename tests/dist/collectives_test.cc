#include "tests/dist/collectives_suite.h"

#include "dist/thread_world.h"

namespace shardit::test {
namespace {

WorldKind threads(int ranks, const ThreadWorldOptions& options = {}, const std::string& suffix = "") {
  return {"Threads" + std::to_string(ranks) + suffix,
          [=](const std::function<void(World&)>& body) { run_ranks(ranks, options, body); }};
}

const WorldKind kSingle = {"Single", [](const std::function<void(World&)>& body) { body(*make_single_world()); }};

INSTANTIATE_TEST_SUITE_P(Worlds, Collectives,
                         testing::Values(kSingle, threads(1), threads(2), threads(3), threads(4), threads(5),
                                         threads(4, {.seed = 1, .max_delay_us = 200}, "Delayed")),
                         name_of_kind);

}  // namespace
}  // namespace shardit::test
