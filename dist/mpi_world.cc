#include "dist/mpi_world.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <list>
#include <map>

#include <glog/logging.h>

#include "core/error.h"
#include "core/error_text.h"
#include "dist/collectives.h"
#include "dist/launch_environment.h"
#include "dist/mpi_call.h"
#include "dist/side_channel.h"

namespace shardit {
namespace {

// Settings of Open MPI that serve collectives in both directions at once, unless the user has set them. Over TCP its
// put protocol lets a message's last packets wait for a whole chunk of the other direction: two-chunk transfers take
// 1.6 times as long (docs/dist.md). Other libraries do not look at the variable.
void prefer_settings() {
  constexpr int kKeep = 0;
  setenv("OMPI_MCA_btl_tcp_flags", "send", kKeep);
}

// MPI itself: from the first call of it to the last.
class Session {
 public:
  Session(int* argc, char*** argv) {
    prefer_settings();
    int threads = MPI_THREAD_SINGLE;
    MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &threads);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);  // inherited by communicators made from it
    MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    void* limit = nullptr;
    int found = 0;
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &limit, &found);
    if (found) tags = static_cast<uint64_t>(*static_cast<int*>(limit)) + 1;
    if (threads < MPI_THREAD_MULTIPLE)
      throw CommError("this MPI library lets only one thread at a time call it; shardit needs MPI_THREAD_MULTIPLE");
    const int started = processes_from_environment().value_or(size);
    if (started != size)
      throw CommError(std::to_string(started) + " processes were started, but MPI sees " + std::to_string(size) +
                      ": launcher and MPI library do not know each other; use this library's own mpirun, or srun "
                      "--mpi=pmix");
  }
  ~Session() { MPI_Finalize(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  int rank = 0, size = 1;
  uint64_t tags = 32768;  // what the standard grants
};

// Communicators are never freed: that is collective, and ends on one rank alone when an error unwinds it. There are a
// handful, and MPI_Finalize takes them.
class MpiTransport final : public Transport {
 public:
  MpiTransport(std::shared_ptr<Session> session, MPI_Comm comm, std::vector<int> ranks)
      : session_(std::move(session)),
        comm_(comm),
        ranks_(std::move(ranks)) {
    slots_.fill({MPI_REQUEST_NULL, 0, 0});
  }

  void enter(const Call& call) override {
    call_ = &call;
    tag_ = static_cast<int>(call.hash % session_->tags);
  }

  void start_send(int slot, int to, const void* data, int64_t bytes) override {
    Slot& s = slots_[static_cast<size_t>(slot)];
    s.peer = to;
    s.receives = -1;
    MPI_REQUIRE(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, tag_, comm_, &s.request), where(s));
  }

  void start_receive(int slot, int from, void* data, int64_t bytes) override {
    Slot& s = slots_[static_cast<size_t>(slot)];
    s.peer = from;
    s.receives = bytes;
    MPI_REQUIRE(MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, from, tag_, comm_, &s.request), where(s));
  }

  bool test(int slot) override {
    Slot& s = slots_[static_cast<size_t>(slot)];
    int done = 0;
    MPI_Status status;
    MPI_REQUIRE(MPI_Test(&s.request, &done, &status), where(s));
    if (!done || s.receives < 0) return done;
    int arrived = 0;
    MPI_Get_count(&status, MPI_BYTE, &arrived);
    CHECK_EQ(arrived, s.receives) << where(s);  // ours: calls with one hash agree
    return true;
  }

  void forget() override {
    for (Slot& s : slots_) {
      if (s.request == MPI_REQUEST_NULL) continue;
      if (s.receives >= 0) MPI_Cancel(&s.request);
      MPI_Request_free(&s.request);
    }
  }

 private:
  struct Slot {
    MPI_Request request;
    int peer;          // in the group
    int64_t receives;  // bytes; -1: sends
  };

  std::string where(const Slot& s) const {
    return describe(*call_) + " on rank " + std::to_string(session_->rank) + (s.receives < 0 ? " to" : " from") +
           " rank " + std::to_string(ranks_[static_cast<size_t>(s.peer)]);
  }

  const std::shared_ptr<Session> session_;
  const MPI_Comm comm_;
  const std::vector<int> ranks_;  // world numbers
  const Call* call_ = nullptr;
  int tag_ = 0;
  std::array<Slot, kSlots> slots_;
};

// On a communicator of its own. Nothing here waits: a peer that is stopped must not stop us.
class MpiSideChannel final : public SideChannel {
 public:
  MpiSideChannel(std::shared_ptr<Session> session, MPI_Comm comm) : session_(std::move(session)), comm_(comm) {}
  ~MpiSideChannel() override {
    for (Incoming& in : incoming_) MPI_Cancel(&in.request);
    for (Incoming& in : incoming_) MPI_Request_free(&in.request);
    for (MPI_Request& request : sends_)
      if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
  }

  void tell(const RankCalls& mine) override {
    // The time goes in front, as a call of its own.
    told_ = mine.calls;
    told_.insert(told_.begin(), Call{.started_ns = mine.now_ns});
    for (int rank = 0; rank < session_->size; ++rank) {
      if (rank == session_->rank) continue;
      MPI_REQUIRE(MPI_Isend(told_.data(), static_cast<int>(told_.size() * sizeof(Call)), MPI_BYTE, rank, 0, comm_,
                            &sends_.emplace_back(MPI_REQUEST_NULL)),
                  "watchdog to rank " + std::to_string(rank));
    }
  }

  std::vector<RankCalls> hear() override {
    start_receives();
    std::vector<RankCalls> heard;
    for (auto in = incoming_.begin(); in != incoming_.end();) {
      int done = 0;
      MPI_REQUIRE(MPI_Test(&in->request, &done, MPI_STATUS_IGNORE), "watchdog from rank " + std::to_string(in->from));
      if (!done) {
        ++in;
        continue;
      }
      heard.push_back({.rank = in->from,
                       .now_ns = in->calls.front().started_ns,
                       .calls = {in->calls.begin() + 1, in->calls.end()}});
      in = incoming_.erase(in);
    }
    return heard;
  }

 private:
  struct Incoming {
    int from;
    std::vector<Call> calls;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void start_receives() {
    for (;;) {
      int there = 0;
      MPI_Message message;
      MPI_Status status;
      MPI_REQUIRE(MPI_Improbe(MPI_ANY_SOURCE, 0, comm_, &there, &message, &status), "watchdog");
      if (!there) return;
      int bytes = 0;
      MPI_Get_count(&status, MPI_BYTE, &bytes);
      Incoming& in = incoming_.emplace_back(
          Incoming{.from = status.MPI_SOURCE, .calls = std::vector<Call>(static_cast<size_t>(bytes) / sizeof(Call))});
      MPI_REQUIRE(MPI_Imrecv(in.calls.data(), bytes, MPI_BYTE, &message, &in.request), "watchdog");
    }
  }

  const std::shared_ptr<Session> session_;
  const MPI_Comm comm_;
  std::vector<Call> told_;
  std::list<MPI_Request> sends_;
  std::list<Incoming> incoming_;  // begun, not yet here
};

class MpiWorld final : public World {
 public:
  explicit MpiWorld(std::shared_ptr<Session> session) : World(session->rank), session_(std::move(session)) {
    MPI_Comm node;
    MPI_REQUIRE(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank(), MPI_INFO_NULL, &node), "at start");
    MPI_Comm_rank(node, &local_rank_);
    MPI_Comm_size(node, &local_size_);
    node_ = rank();
    MPI_REQUIRE(MPI_Bcast(&node_, 1, MPI_INT, 0, node), "at start");
  }

  int rank() const override { return session_->rank; }
  int size() const override { return session_->size; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }
  int node() const override { return node_; }

  using World::make_group;
  std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int>& ranks) override {
    const auto me = std::find(ranks.begin(), ranks.end(), rank());
    CHECK(me != ranks.end()) << "rank " << rank() << " makes a group " << name << " that it is not in";
    const GroupPlace place{name, static_cast<int>(me - ranks.begin()), static_cast<int>(ranks.size())};
    CallLog::Group& calls = calls_->make_group(name, ranks);
    const int tag = groups_[ranks]++;
    std::unique_ptr<Transport> transport;
    if (place.size > 1) transport = std::make_unique<MpiTransport>(session_, make_comm(name, ranks, tag), ranks);
    calls.finish();
    return make_communicator(place, std::move(transport), calls_, calls);
  }

  std::unique_ptr<SideChannel> make_side_channel() override {
    MPI_Comm comm;
    MPI_REQUIRE(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "for the watchdog");
    return std::make_unique<MpiSideChannel>(session_, comm);
  }

  void abort(int exit_code, const std::string& why) override {
    std::fputs(error_text("shardit: rank " + std::to_string(rank()) + " ends the job", why).c_str(), stderr);
    std::fflush(stdout);
    std::fflush(stderr);
    // Open MPI's mpirun ends the job when a rank ends with another code than 0, and by that code. Told by MPI_Abort, it
    // crashes or hangs in its own clean-up now and then (docs/dist.md). Other launchers wait for the other ranks.
    if (started_by_openmpi()) _exit(exit_code);
    MPI_Abort(MPI_COMM_WORLD, exit_code);
  }

 private:
  // Only the group's ranks take part.
  MPI_Comm make_comm(const std::string& name, const std::vector<int>& ranks, int tag) {
    MPI_Group all, some;
    MPI_Comm comm;
    MPI_Comm_group(MPI_COMM_WORLD, &all);
    MPI_REQUIRE(MPI_Group_incl(all, static_cast<int>(ranks.size()), ranks.data(), &some), "group " + name);
    MPI_REQUIRE(MPI_Comm_create_group(MPI_COMM_WORLD, some, tag, &comm),
                "group " + name + " on rank " + std::to_string(rank()));
    MPI_Group_free(&some);
    MPI_Group_free(&all);
    return comm;
  }

  const std::shared_ptr<Session> session_;
  int local_rank_ = 0, local_size_ = 1, node_ = 0;
  std::map<std::vector<int>, int> groups_;  // of these ranks, so far
};

}  // namespace

std::unique_ptr<World> make_mpi_world(int* argc, char*** argv) {
  return std::make_unique<MpiWorld>(std::make_shared<Session>(argc, argv));
}

}  // namespace shardit
