// A test double of NVIDIA's NCCL, which does nothing without GPUs: its communicators join threads of one process, its
// streams are the host. It has the library's manners where they matter to who calls it: what needs peers is done by a
// thread of its own and answers ncclInProgress meanwhile, a communicator that is used before it is at rest is an error,
// a child is null until its parent is at rest, and a lost peer is told of by the state alone. Registered memory is an
// error where it is not at both ends of a call and at one place on all ranks.
#include "fake_nccl.h"

#include <nccl.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kAnswersInProgress = 3;  // at least so often

std::mutex mutex;
std::condition_variable changed;
bool peer_lost = false;  // guarded by mutex, and so are the counts and what cliques hold
FakeNcclCounts counts;
thread_local int own_alive = 0;
thread_local int group_depth = 0;
thread_local std::string last_error;

// What a rank brings to a call: where its part for each peer lies, and where in registered memory what it sends and
// what it receives begin, -1 elsewhere; or its colour and key.
struct Offer {
  std::vector<const char*> to;
  ptrdiff_t send_at = -1, receive_at = -1;
  int color = 0, key = 0;
};

// The ranks of a communicator.
struct Clique {
  explicit Clique(int size) : offers(static_cast<size_t>(size)) {}
  std::vector<Offer> offers;  // by rank
  std::map<std::string, std::shared_ptr<Clique>> children;
  size_t arrived = 0;
  int turn = 0;
};

std::map<std::string, std::shared_ptr<Clique>> cliques;  // by invitation

}  // namespace

struct ncclComm {
  std::shared_ptr<Clique> clique;
  int rank = 0, splits = 0;
  std::atomic<ncclResult_t> state = ncclSuccess;
  std::atomic<bool> aborted = false;
  int asked = 0;  // since the last call began
  std::thread worker;
  std::vector<const char*> sends;  // of the group that is open on this thread: by peer
  std::vector<char*> receives;
  size_t bytes = 0;
  std::map<const char*, size_t> registered;  // memory and its bytes
};

namespace {

// Waits until all ranks of the clique are here.
bool meet(ncclComm& comm) {
  std::unique_lock lock(mutex);
  Clique& clique = *comm.clique;
  const int turn = clique.turn;
  if (++clique.arrived == clique.offers.size()) {
    clique.arrived = 0;
    ++clique.turn;
    changed.notify_all();
  }
  changed.wait(lock, [&] { return clique.turn != turn || peer_lost || comm.aborted; });
  return clique.turn != turn;
}

// Whether all ranks of a call use registered memory as this one does, which does so at both ends or at none.
bool agrees(const Clique& clique, const Offer& mine) {
  const std::lock_guard lock(mutex);
  for (const Offer& peer : clique.offers)
    if (peer.send_at != mine.send_at || peer.receive_at != mine.receive_at) return false;
  counts.in_place += mine.send_at >= 0;
  return (mine.send_at < 0) == (mine.receive_at < 0);
}

ptrdiff_t place_of(const ncclComm* comm, const void* data) {
  const auto* const at = static_cast<const char*>(data);
  for (const auto& [memory, bytes] : comm->registered)
    if (at >= memory && at < memory + bytes) return at - memory;
  return -1;
}

Offer offer_of(const ncclComm* comm, std::vector<const char*> to, const void* send, const void* receive) {
  return {.to = std::move(to), .send_at = place_of(comm, send), .receive_at = place_of(comm, receive)};
}

// Does `work` between two meetings of all ranks, on a thread of its own.
ncclResult_t begin(ncclComm* comm, Offer offer, std::function<void()> work) {
  comm->state = ncclInProgress;
  comm->asked = 0;
  comm->worker = std::thread([comm, offer = std::move(offer), work = std::move(work)] {
    {
      const std::lock_guard lock(mutex);
      comm->clique->offers[static_cast<size_t>(comm->rank)] = offer;
    }
    bool all = meet(*comm);
    const bool legal = !all || agrees(*comm->clique, offer);
    if (all && legal) work();
    all = all && meet(*comm);
    comm->state = !legal ? ncclInvalidUsage : all ? ncclSuccess : ncclRemoteError;
  });
  return ncclInProgress;
}

ncclResult_t refuse(const char* why) {
  last_error = why;
  return ncclInvalidArgument;
}

bool at_rest(const ncclComm* comm) { return comm->state == ncclSuccess && !comm->worker.joinable(); }

ncclComm* make(std::shared_ptr<Clique> clique, int rank) {
  auto* comm = new ncclComm;
  comm->clique = std::move(clique);
  comm->rank = rank;
  const size_t size = comm->clique->offers.size();
  comm->sends.resize(size);
  comm->receives.resize(size);
  ++counts.alive;
  return comm;
}

void destroy(ncclComm* comm) {
  if (comm->worker.joinable()) comm->worker.join();
  const auto known = static_cast<int>(comm->registered.size());
  delete comm;
  --own_alive;
  const std::lock_guard lock(mutex);
  --counts.alive;
  counts.registered -= known;
}

// Each rank's part for this one, by rank, as the peers offered it.
const char* offered(const ncclComm* comm, size_t peer) {
  return comm->clique->offers[peer].to[static_cast<size_t>(comm->rank)];
}

}  // namespace

extern "C" {

FakeNcclCounts fake_nccl_counts() {
  const std::lock_guard lock(mutex);
  return counts;
}
void fake_nccl_lose_a_peer() {
  const std::lock_guard lock(mutex);
  peer_lost = true;
  changed.notify_all();
}
void fake_nccl_reset() {
  const std::lock_guard lock(mutex);
  peer_lost = false;
  counts = {};
  cliques.clear();
}

ncclResult_t ncclGetVersion(int* version) { return *version = 29999, ncclSuccess; }
const char* ncclGetErrorString(ncclResult_t result) { return result == ncclRemoteError ? "a peer is lost" : "misuse"; }
const char* ncclGetLastError(ncclComm_t) { return last_error.c_str(); }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<int> invitations = 0;
  std::memset(id, 0, sizeof *id);
  std::strcpy(id->internal, std::to_string(++invitations).c_str());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (config->blocking != 0) return refuse("a communicator that blocks");
  const std::lock_guard lock(mutex);
  std::shared_ptr<Clique>& clique = cliques[id.internal];
  if (!clique) clique = std::make_shared<Clique>(size);
  *comm = make(clique, rank);
  ++own_alive;
  return begin(*comm, {}, [] {});
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* child, ncclConfig_t* config) {
  if (!at_rest(comm)) return refuse("split before its parent is at rest");
  if (config->blocking != 0) return refuse("a communicator that blocks");
  *child = nullptr;
  ++own_alive;
  const std::string name = std::to_string(++comm->splits) + "." + std::to_string(color);
  begin(comm, {.color = color, .key = key}, [=] {
    const std::lock_guard lock(mutex);
    int size = 0, rank = 0;
    for (const Offer& peer : comm->clique->offers) {
      size += peer.color == color;
      rank += peer.color == color && peer.key < key;
    }
    std::shared_ptr<Clique>& clique = comm->clique->children[name];
    if (!clique) clique = std::make_shared<Clique>(size);
    *child = make(clique, rank);
  });
  return ncclSuccess;  // as the library does, though its work has only begun
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  *state = ++comm->asked <= kAnswersInProgress ? ncclInProgress : comm->state.load();
  if (*state == ncclSuccess && comm->worker.joinable()) comm->worker.join();
  const std::lock_guard lock(mutex);
  if (peer_lost && *state == ncclSuccess) *state = ncclRemoteError;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  if (!at_rest(comm)) return refuse("finalized before it is at rest");
  return begin(comm, {}, [] {});
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (!at_rest(comm)) return refuse("destroyed before it is at rest");
  return destroy(comm), ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  {
    const std::lock_guard lock(mutex);
    ++counts.aborted;
    if (group_depth == 0 && own_alive > 1) ++counts.aborted_alone;
    comm->aborted = true;
    changed.notify_all();
  }
  return destroy(comm), ncclSuccess;
}

ncclResult_t ncclAllGather(const void* send, void* receive, size_t count, ncclDataType_t, ncclComm_t comm,
                           cudaStream_t) {
  if (!at_rest(comm)) return refuse("used before it is at rest");
  const size_t size = comm->clique->offers.size();
  return begin(comm, offer_of(comm, std::vector(size, static_cast<const char*>(send)), send, receive), [=] {
    for (size_t peer = 0; peer < size; ++peer)
      std::memmove(static_cast<char*>(receive) + peer * count, offered(comm, peer), count);
  });
}

ncclResult_t ncclReduceScatter(const void* send, void* receive, size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t) {
  if (!at_rest(comm)) return refuse("used before it is at rest");
  if (type != ncclFloat32 || op != ncclSum) return refuse("only sums of fp32");
  const size_t size = comm->clique->offers.size();
  Offer offer = offer_of(comm, {}, send, receive);
  for (size_t peer = 0; peer < size; ++peer)
    offer.to.push_back(static_cast<const char*>(send) + peer * count * sizeof(float));
  return begin(comm, offer, [=] {
    std::vector<float> sum(count, 0.0f);
    for (size_t peer = 0; peer < size; ++peer)
      for (size_t i = 0; i < count; ++i) sum[i] += reinterpret_cast<const float*>(offered(comm, peer))[i];
    std::memcpy(receive, sum.data(), count * sizeof(float));
  });
}

ncclResult_t ncclMemAlloc(void** memory, size_t bytes) {
  const std::lock_guard lock(mutex);
  ++counts.memory;
  return *memory = std::malloc(bytes), ncclSuccess;
}
ncclResult_t ncclMemFree(void* memory) {
  const std::lock_guard lock(mutex);
  --counts.memory;
  return std::free(memory), ncclSuccess;
}
ncclResult_t ncclCommRegister(ncclComm_t comm, void* memory, size_t bytes, void** handle) {
  if (!at_rest(comm)) return refuse("used before it is at rest");
  const std::lock_guard lock(mutex);
  ++counts.registered;
  comm->registered[static_cast<char*>(memory)] = bytes;
  return *handle = memory, ncclSuccess;
}
ncclResult_t ncclCommDeregister(ncclComm_t comm, void* handle) {
  const std::lock_guard lock(mutex);
  if (comm->registered.erase(static_cast<char*>(handle)) == 0) return refuse("no such memory");
  return --counts.registered, ncclSuccess;
}

thread_local ncclComm_t in_group = nullptr;  // whose sends and receives are gathered

ncclResult_t ncclGroupStart() { return ++group_depth, ncclSuccess; }
ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t, int peer, ncclComm_t comm, cudaStream_t) {
  if (!at_rest(comm) || group_depth == 0) return refuse("used before it is at rest, or outside of a group");
  in_group = comm;
  comm->bytes = count;
  comm->sends[static_cast<size_t>(peer)] = static_cast<const char*>(data);
  return ncclSuccess;
}
ncclResult_t ncclRecv(void* data, size_t, ncclDataType_t, int peer, ncclComm_t comm, cudaStream_t) {
  if (!at_rest(comm) || group_depth == 0) return refuse("used before it is at rest, or outside of a group");
  comm->receives[static_cast<size_t>(peer)] = static_cast<char*>(data);
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (--group_depth > 0 || !in_group) return ncclSuccess;
  ncclComm_t comm = std::exchange(in_group, nullptr);
  return begin(comm, offer_of(comm, comm->sends, comm->sends[0], comm->receives[0]), [=] {
    for (size_t peer = 0; peer < comm->receives.size(); ++peer)
      std::memcpy(comm->receives[peer], offered(comm, peer), comm->bytes);
  });
}
}
