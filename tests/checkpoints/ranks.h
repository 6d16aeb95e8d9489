// Ranks as threads, for tests in which some of them fail or die.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "dist/thread_world.h"
#include "tests/checkpoints/faulty_files.h"

namespace shardit {

// How a rank ended: "done", "killed", or the kind of its error and the message, "IoError: …".
using Ends = std::vector<std::string>;

// Runs body(world) on each rank and waits for all of them. Calls of FaultyFiles count as those of process `rank`.
inline Ends end_of_ranks(int ranks, const std::function<void(World&)>& body) {
  Ends ends(ranks, "done");
  try {
    run_ranks(ranks, {}, [&](World& world) {
      std::string& end = ends[world.rank()];
      FaultyFiles::process = world.rank();
      try {
        body(world);
      } catch (const UserError& error) {
        end = std::string("UserError: ") + error.what();
      } catch (const IoError& error) {
        end = std::string("IoError: ") + error.what();
      } catch (const CommError& error) {
        end = std::string("CommError: ") + error.what();
      } catch (const Killed&) {
        end = "killed";
        throw RankKilled{world.rank(), 0};  // the others must not wait for it
      }
    });
  } catch (const RankKilled&) {}
  return ends;
}

// The same with a communicator among all of them; returns true if all are done.
inline Ends with_ranks(int ranks, const std::function<void(Communicator&)>& body) {
  return end_of_ranks(ranks, [&](World& world) { body(*world.make_group("checkpoint")); });
}

inline Ends all_done(int ranks) { return Ends(ranks, "done"); }

}  // namespace shardit
