#include "dist/nccl_wire.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <exception>
#include <map>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/cuda_error.h"
#include "core/error.h"
#include "dist/agree.h"
#include "dist/call_mark.h"
#include "dist/nccl_library.h"
#include "dist/nccl_version.h"
#include "dist/wire_calls.h"

namespace shardit {
namespace {

constexpr double kPartingS = 10;  // how long a rank that is done waits for what others still have on their way

// Between two questions to the library: more patient each time.
class Nap {
 public:
  void take() {
    std::this_thread::sleep_for(std::chrono::microseconds(us_));
    us_ = std::min(2 * us_, 1000);
  }

 private:
  int us_ = 10;
};

// The device's count of calls, in memory that it writes and the host reads.
class Marks {
 public:
  Marks() {
    SHARDIT_CUDA(cudaMallocHost(reinterpret_cast<void**>(&marks_), sizeof *marks_));
    *marks_ = 0;
  }
  ~Marks() { cudaFreeHost(marks_); }
  Marks(const Marks&) = delete;
  Marks& operator=(const Marks&) = delete;
  uint64_t* get() const { return marks_; }

 private:
  uint64_t* marks_ = nullptr;
};

// A communicator of the library.
struct Comm {
  std::string group;  // as the log names it
  CallLog::Group* calls;
  ncclComm_t comm = nullptr;
  std::map<void*, void*> registered;  // memory -> what the library calls it
};

// A rank's end of all its communicators. They are broken together: what one has lost, no other can do without.
class NcclWire {
 public:
  explicit NcclWire(World& world) : nccl_(nccl_library()), rank_(world.rank()), log_(world.call_log()) {}

  // Nobody else may be there to part from when an error unwinds this.
  ~NcclWire() {
    if (std::uncaught_exceptions() > 0) abort();
    for (auto comm = comms_.rbegin(); comm != comms_.rend(); ++comm)
      if (comm->comm && !part(*comm)) abort();
  }
  NcclWire(const NcclWire&) = delete;
  NcclWire& operator=(const NcclWire&) = delete;

  // All ranks of the job; `id` is rank 0's.
  const Comm& join(int size, const std::string& id) {
    std::vector<int> ranks(static_cast<size_t>(size));
    std::iota(ranks.begin(), ranks.end(), 0);
    return make("nccl.world", ranks, [&](ncclComm_t* comm, ncclConfig_t* config) {
      ncclUniqueId unique;
      std::copy(id.begin(), id.end(), unique.internal);
      return nccl_.CommInitRankConfig(comm, size, unique, rank_, config);
    });
  }

  // The ranks that name the same colour, in order. Collective over those of `whole`, which is not used meanwhile: the
  // new communicator is there when the old one is at rest. The library may say success though it has only begun.
  const Comm& split(const Comm& whole, const std::string& group, const std::vector<int>& ranks, int color) {
    return make(group, ranks, [&](ncclComm_t* comm, ncclConfig_t* config) {
      const ncclResult_t begun = nccl_.CommSplit(whole.comm, color, rank_, comm, config);
      return begun == ncclSuccess || begun == ncclInProgress ? at_rest(whole.comm) : begun;
    });
  }

  // Puts a call on the stream: what `issue` asks of the library, between two marks of the device.
  template <typename Issue>
  void put(const Comm& comm, CallOp op, const char* label, int64_t bytes, void* stream, const Issue& issue) {
    if (bytes == 0) return;
    const Call call = enter(comm, op, label, bytes);
    mark_call(marks_.get(), stream);
    ncclResult_t result = issue();
    if (result == ncclInProgress) result = at_rest(comm.comm);
    if (result != ncclSuccess) fail(describe(call), "failed", result);
    mark_call(marks_.get(), stream);
  }

  // Throws CommError if the library has lost a peer.
  void look() {
    throw_if_broken();
    for (const Comm& comm : comms_) {
      const ncclResult_t state = state_of(comm.comm);
      if (state == ncclSuccess || state == ncclInProgress) continue;
      const auto call = calls_.earliest_of(*comm.calls);
      fail(call ? describe(*call) : "group " + comm.group, "failed", state);
    }
  }

  // Has every communicator know the memory, which the library then reads and writes in place where it has a way to.
  // All ranks give what they send and what they receive from such memory, at equal offsets, or none of it.
  void register_memory(void* memory, size_t bytes) {
    throw_if_broken();
    for (Comm& comm : comms_)
      if (const ncclResult_t result = nccl_.CommRegister(comm.comm, memory, bytes, &comm.registered[memory]);
          result != ncclSuccess)
        fail("memory of " + std::to_string(bytes) + " bytes, group " + comm.group, "cannot be registered", result);
  }
  void forget_memory(void* memory) {
    for (Comm& comm : comms_)
      if (const auto known = comm.registered.extract(memory); known && comm.comm)
        nccl_.CommDeregister(comm.comm, known.mapped());
  }

  const NcclLibrary& library() const { return nccl_; }

 private:
  template <typename Begin>
  const Comm& make(const std::string& group, const std::vector<int>& ranks, const Begin& begin) {
    Comm& made = comms_.emplace_back(Comm{group, &log_->make_group(group, ranks)});
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclResult_t result = begin(&made.comm, &config);
    if (result == ncclSuccess || result == ncclInProgress) result = at_rest(made.comm);
    if (result != ncclSuccess) fail("group " + group, "cannot be made", result);
    made.calls->finish();
    return made;
  }

  Call enter(const Comm& comm, CallOp op, const char* label, int64_t bytes) {
    throw_if_broken();
    for (Nap nap;; nap.take()) {
      if (const auto call = calls_.put(*comm.calls, op, label, bytes)) return *call;
      look();
    }
  }

  ncclResult_t state_of(ncclComm_t comm) const {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = nccl_.CommGetAsyncError(comm, &state);
    return asked == ncclSuccess ? state : asked;
  }
  // Waits until the library has done on the host what it was asked for.
  ncclResult_t at_rest(ncclComm_t comm) const {
    ncclResult_t state;
    for (Nap nap; (state = state_of(comm)) == ncclInProgress;) nap.take();
    return state;
  }

  void throw_if_broken() const {
    if (!broken_.empty()) throw CommError(broken_);
  }
  // Ends all calls on the device as well, so that the host does not wait for them.
  [[noreturn]] void fail(const std::string& what, const char* how, ncclResult_t result) {
    broken_ = "NCCL: " + what + " on rank " + std::to_string(rank_) + " " + how + ": " + nccl_.why(result) +
              "\nNCCL_DEBUG=WARN makes NCCL say more";
    abort();
    throw CommError(broken_);
  }

  // As one group, which tells all communicators to end before it waits for any: one alone would wait for the device, on
  // which a call of another one may stand in front of its own.
  void abort() {
    nccl_.GroupStart();
    for (Comm& c : comms_)
      if (c.comm) nccl_.CommAbort(std::exchange(c.comm, nullptr));
    nccl_.GroupEnd();
  }
  // Whether the library was through with all that was asked of it.
  bool part(Comm& comm) {
    ncclResult_t result = nccl_.CommFinalize(comm.comm);
    const int64_t until = steady_now_ns() + static_cast<int64_t>(kPartingS * 1e9);
    for (Nap nap; result == ncclInProgress && steady_now_ns() < until; nap.take()) result = state_of(comm.comm);
    if (result != ncclSuccess) return false;
    nccl_.CommDestroy(std::exchange(comm.comm, nullptr));
    return true;
  }

  const NcclLibrary& nccl_;
  const int rank_;  // in the world
  const std::shared_ptr<CallLog> log_;
  Marks marks_;
  WireCalls calls_{log_, marks_.get()};
  std::deque<Comm> comms_;  // in the order in which they were made
  std::string broken_;      // why; empty while all is well
};

class NcclGroup final : public DeviceCommunicator {
 public:
  NcclGroup(std::shared_ptr<NcclWire> wire, const Comm& comm, int size)
      : wire_(std::move(wire)),
        comm_(comm),
        size_(size) {}

  void all_gather(const char* label, const void* part, void* all, int64_t part_bytes, void* stream) override {
    wire_->put(comm_, CallOp::kAllGather, label, part_bytes, stream, [&] {
      return nccl().AllGather(part, all, static_cast<size_t>(part_bytes), ncclChar, comm_.comm, queue(stream));
    });
  }

  void all_to_all(const char* label, const void* send, void* receive, int64_t part_bytes, void* stream) override {
    const char* const out = static_cast<const char*>(send);
    char* const in = static_cast<char*>(receive);
    wire_->put(comm_, CallOp::kAllToAll, label, part_bytes, stream, [&] {
      const auto bytes = static_cast<size_t>(part_bytes);
      ncclResult_t first = nccl().GroupStart();
      const auto note = [&](ncclResult_t result) {
        if (first == ncclSuccess || first == ncclInProgress) first = result;
      };
      for (int peer = 0; peer < size_; ++peer) {
        note(nccl().Send(out + peer * part_bytes, bytes, ncclChar, peer, comm_.comm, queue(stream)));
        note(nccl().Recv(in + peer * part_bytes, bytes, ncclChar, peer, comm_.comm, queue(stream)));
      }
      note(nccl().GroupEnd());
      return first;
    });
  }

  void reduce_scatter(const char* label, const float* send, float* receive, int64_t part_elements,
                      void* stream) override {
    const int64_t bytes = part_elements * static_cast<int64_t>(sizeof(float));
    wire_->put(comm_, CallOp::kReduceScatter, label, bytes, stream, [&] {
      return nccl().ReduceScatter(send, receive, static_cast<size_t>(part_elements), ncclFloat32, ncclSum, comm_.comm,
                                  queue(stream));
    });
  }

 private:
  const NcclLibrary& nccl() const { return wire_->library(); }
  static cudaStream_t queue(void* stream) { return static_cast<cudaStream_t>(stream); }

  const std::shared_ptr<NcclWire> wire_;
  const Comm& comm_;
  const int size_;
};

// Rank 0's invitation, on all ranks, after every one of them has found a library that fits the others'.
std::string agree_on_id(Communicator& ranks) {
  const std::vector<std::string> versions =
      all_work(ranks, "nccl version", [] { return nccl_version_text(nccl_library().version); });
  all_work(ranks, "nccl version", [&] { return check_same_nccl(versions), std::string(); });
  return rank_zero_works(ranks, "nccl id", [] {
    const NcclLibrary& nccl = nccl_library();
    ncclUniqueId id;
    if (const ncclResult_t result = nccl.GetUniqueId(&id); result != ncclSuccess)
      throw DeviceError("ncclGetUniqueId: " + nccl.why(result));
    return std::string(id.internal, sizeof id.internal);
  });
}

// Memory that the wire's communicators know as long as they are there.
MemorySource memory_of(const std::shared_ptr<NcclWire>& wire) {
  return {.take = [ours = std::weak_ptr(wire)](size_t bytes) -> void* {
            void* taken = nullptr;
            if (nccl_library().MemAlloc(&taken, bytes) != ncclSuccess) return nullptr;
            std::unique_ptr<void, decltype(&ncclMemFree)> memory(taken, nccl_library().MemFree);
            if (const auto wire = ours.lock()) wire->register_memory(taken, bytes);
            return memory.release();
          },
          .give_back =
              [ours = std::weak_ptr(wire)](void* memory) {
                if (const auto wire = ours.lock()) wire->forget_memory(memory);
                nccl_library().MemFree(memory);
              }};
}

}  // namespace

void connect_gpus(World& world, Mesh& mesh, Device& device) {
  const std::string id = agree_on_id(*mesh.world.communicator);
  const auto wire = std::make_shared<NcclWire>(world);
  const Comm& all = wire->join(mesh.ranks(), id);
  const auto connect = [&](Group& group, const std::vector<int>& ranks, int color) {
    if (group.size == 1) return;
    const Comm& comm = group.size == mesh.ranks() ? all : wire->split(all, "nccl." + group.name, ranks, color);
    group.on_devices = std::make_shared<NcclGroup>(wire, comm, group.size);
  };
  connect(mesh.world, {}, 0);
  connect(mesh.shard, ranks_of_shard_group(mesh), mesh.replicate.rank);
  connect(mesh.replicate, ranks_of_replicate_group(mesh), mesh.shard.rank);
  device.take_memory_from(memory_of(wire));
  device.while_waiting([ours = std::weak_ptr(wire)] {  // the device may outlive the mesh
    if (const auto wire = ours.lock()) wire->look();
  });
}

}  // namespace shardit
