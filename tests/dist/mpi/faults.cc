// Ends as a faulty job does, one fault per start; ctest looks at what it says and at its exit code.
#include <csignal>
#include <cstdio>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "dist/mpi_world.h"
#include "dist/watchdog.h"

namespace shardit {
namespace {

void gather(Communicator& group, const char* label) {
  std::vector<int> all(static_cast<size_t>(group.size()));
  const int mine = group.rank();
  group.all_gather(label, &mine, all.data(), sizeof mine);
}

void other_call(World& world, Communicator& group) { gather(group, world.rank() == 1 ? "blocks.2" : "blocks.1"); }

void stopped(World& world, Communicator& group) {
  if (world.rank() == 1) std::raise(SIGSTOP);
  gather(group, "blocks.1");
}

void absent(World& world, Communicator& group) {
  if (world.rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(60));
  gather(group, "blocks.1");
}

void abort_on_rank_1(World& world, Communicator& group) {
  if (world.rank() == 1) world.abort(4, "the disk is full\nfix: make room on it");
  gather(group, "blocks.1");
}

void wrong_ranks(World& world, Communicator&) { world.make_group("strange", {world.rank(), world.size() + 5}); }

const std::map<std::string, void (*)(World&, Communicator&)> kFaults = {{"other_call", other_call},
                                                                        {"stopped", stopped},
                                                                        {"absent", absent},
                                                                        {"abort", abort_on_rank_1},
                                                                        {"wrong_ranks", wrong_ranks}};

void run(World& world, const std::string& fault) {
  try {
    const auto group = world.make_group("world");
    const Watchdog watchdog(world, {.limit_s = 1, .answer_s = 2}, [&](const std::string& diagnosis, bool tells) {
      if (tells) world.abort(6, diagnosis);
    });
    gather(*group, "blocks.0");
    kFaults.at(fault)(world, *group);
  } catch (const CommError& error) {
    world.abort(error.exit_code, error.what());
  }
}

}  // namespace
}  // namespace shardit

int main(int argc, char** argv) {
  try {
    const auto world = shardit::make_mpi_world(&argc, &argv);
    shardit::run(*world, argv[1]);
  } catch (const shardit::CommError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.exit_code;
  }
}
