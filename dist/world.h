// All ranks of a job, and the groups they form.
//
//   SingleWorld    one rank, no transport
//   ThreadWorld    every rank a thread of this process: for tests, with injected delays, drops and kills
//   MpiWorld       every rank a process, started by mpirun or srun
//   SubWorld       the first ranks of any of these (sub_world.h)
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dist/call_log.h"
#include "dist/communicator.h"

namespace shardit {

class SideChannel;

class World {
 public:
  virtual ~World() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual int local_rank() const = 0;  // among the ranks of this node
  virtual int local_size() const = 0;
  virtual int node() const = 0;  // this rank's, named by the lowest rank on it

  // A communicator among `ranks` (world numbers, ascending, this rank among them); its rank i is ranks[i]. Collective
  // among those: each calls it with the same ranks and name, and makes the groups that it is in in one order.
  virtual std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int>& ranks) = 0;

  // A communicator among all ranks.
  std::unique_ptr<Communicator> make_group(const std::string& name);

  // How the watchdogs of all ranks speak with each other. Collective over the world; one per world.
  virtual std::unique_ptr<SideChannel> make_side_channel() = 0;

  // This rank cannot go on: ends the others, wherever they wait, with a CommError (threads) or the job (MPI).
  virtual void abort(int exit_code, const std::string& why) = 0;

  // What this rank has asked of its groups.
  const CallLog& calls() const { return *calls_; }
  // The same, for those that add calls to it.
  const std::shared_ptr<CallLog>& call_log() const { return calls_; }

 protected:
  explicit World(int rank) : calls_(std::make_shared<CallLog>(rank)) {}
  explicit World(std::shared_ptr<CallLog> calls) : calls_(std::move(calls)) {}
  const std::shared_ptr<CallLog> calls_;  // communicators keep it as well
};

std::unique_ptr<World> make_single_world();

}  // namespace shardit
