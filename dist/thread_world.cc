#include "dist/thread_world.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include <glog/logging.h>

#include "core/error.h"
#include "core/random.h"
#include "dist/collectives.h"
#include "dist/side_channel.h"

namespace shardit {
namespace {

// A CommError that is only the echo of another rank's end.
struct EndedByOther : CommError {
  using CommError::CommError;
};

// One message, from start_send until its receiver has copied it out of the sender's memory.
struct alignas(64) Message {
  static constexpr int64_t kNone = -1, kTaken = -2;
  std::atomic<int64_t> number{kNone};  // of its rank to the other, within the group
  uint64_t call = 0;                   // hash
  const void* data = nullptr;
  int64_t bytes = 0;
};

struct Mailbox {  // from one rank to another
  std::array<Message, Transport::kSlots> messages;
  Message& at(int64_t number) { return messages[static_cast<size_t>(number % Transport::kSlots)]; }
};

// What the ranks of one group share.
struct SharedGroup {
  explicit SharedGroup(std::vector<int> ranks)
      : ranks(std::move(ranks)),
        mailboxes(this->ranks.size() * this->ranks.size()) {}
  Mailbox& between(int from, int to) { return mailboxes[static_cast<size_t>(from) * ranks.size() + to]; }

  const std::vector<int> ranks;  // world numbers
  std::vector<Mailbox> mailboxes;
};

// What all ranks share.
class Hub {
 public:
  Hub(int size, const ThreadWorldOptions& options) : size(size), options(options), told_(size) {}

  // The n-th group that a rank makes: found, or made by the first of its members that asks.
  std::shared_ptr<SharedGroup> group(int64_t n, const std::string& name, const std::vector<int>& ranks) {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<SharedGroup>& shared = groups_[{n, name, ranks}];
    if (!shared) shared = std::make_shared<SharedGroup>(ranks);
    return shared;
  }

  bool drops(int from, int to) {
    return options.drop && options.drop->from == from && options.drop->to == to &&
           messages_.fetch_add(1) == options.drop->index;
  }

  void end(int rank, const std::string& why) {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    why_ = "rank " + std::to_string(rank) + " ended: " + why;
    ended_ = true;
  }
  bool ended() const { return ended_.load(std::memory_order_acquire); }
  // REQUIRES: ended().
  std::string why() {
    const std::lock_guard lock(mutex_);
    return why_;
  }

  void tell(const RankCalls& calls) {
    const std::lock_guard lock(mutex_);
    told_[static_cast<size_t>(calls.rank)] = calls;
  }
  // By ranks that are not in `known`, which grows by them.
  std::vector<RankCalls> hear(std::vector<bool>& known) {
    const std::lock_guard lock(mutex_);
    std::vector<RankCalls> news;
    for (size_t rank = 0; rank < told_.size(); ++rank)
      if (told_[rank] && !known[rank]) {
        known[rank] = true;
        news.push_back(*told_[rank]);
      }
    return news;
  }

  const int size;
  const ThreadWorldOptions options;

 private:
  std::mutex mutex_;  // guards all but the atomics
  std::map<std::tuple<int64_t, std::string, std::vector<int>>, std::shared_ptr<SharedGroup>> groups_;
  std::vector<std::optional<RankCalls>> told_;
  std::string why_;
  std::atomic<bool> ended_{false};
  std::atomic<int64_t> messages_{0};  // between the two ranks of options.drop
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<Hub> hub, std::shared_ptr<SharedGroup> group, int rank)
      : hub_(std::move(hub)),
        group_(std::move(group)),
        rank_(rank),
        sent_(group_->ranks.size()),
        received_(group_->ranks.size()) {}

  void enter(const Call& call) override {
    call_ = &call;
    throw_if_ended();
  }

  void start_send(int slot, int to, const void* data, int64_t bytes) override {
    const int64_t number = sent_[static_cast<size_t>(to)]++;
    Message& message = group_->between(rank_, to).at(number);
    slots_[slot] = {.message = &message, .number = number};
    if (hub_->drops(world_rank(rank_), world_rank(to))) return;  // looks like a message that has been received
    CHECK_EQ(message.number.load(std::memory_order_acquire), Message::kNone) << "more messages in flight than slots";
    message.call = call_->hash;
    message.data = data;
    message.bytes = bytes;
    message.number.store(number, std::memory_order_release);
  }

  void start_receive(int slot, int from, void* data, int64_t bytes) override {
    const int64_t number = received_[static_cast<size_t>(from)]++;
    slots_[slot] = {.message = &group_->between(from, rank_).at(number),
                    .number = number,
                    .receives = true,
                    .from = from,
                    .data = data,
                    .bytes = bytes};
  }

  // Whatever has come lands, as on a wire, not only what is asked for.
  bool test(int slot) override {
    throw_if_ended();
    for (Slot& s : slots_)
      if (s.receives && !s.arrived) s.arrived = receive(s);
    Slot& s = slots_[slot];
    if (s.receives ? !s.arrived : !has_left(s)) return false;
    s = {};
    return true;
  }

  // Takes back what is sent; a receiver that is copying just now is waited for.
  void forget() override {
    for (Slot& s : slots_) {
      if (s.message && !s.receives) {
        int64_t number = s.number;
        if (!s.message->number.compare_exchange_strong(number, Message::kNone, std::memory_order_acq_rel))
          while (s.message->number.load(std::memory_order_acquire) == Message::kTaken) std::this_thread::yield();
      }
      s = {};
    }
  }

 private:
  struct Slot {
    Message* message = nullptr;  // null: free
    int64_t number = 0;
    bool receives = false, arrived = false;
    int from = 0;
    void* data = nullptr;
    int64_t bytes = 0;
  };

  static bool has_left(const Slot& s) {
    const int64_t number = s.message->number.load(std::memory_order_acquire);
    return number != s.number && number != Message::kTaken;
  }

  bool receive(Slot& s) {
    int64_t number = s.message->number.load(std::memory_order_acquire);
    if (number != s.number || s.message->call != call_->hash) return false;
    if (!s.message->number.compare_exchange_strong(number, Message::kTaken, std::memory_order_acq_rel)) return false;
    const int64_t sent = s.message->bytes;
    if (sent == s.bytes && sent > 0) std::memcpy(s.data, s.message->data, static_cast<size_t>(sent));
    s.message->number.store(Message::kNone, std::memory_order_release);
    CHECK_EQ(sent, s.bytes) << where() << ": from rank " << world_rank(s.from);  // ours: calls with one hash agree
    return true;
  }

  void throw_if_ended() const {
    if (hub_->ended()) throw EndedByOther(where() + ": " + hub_->why());
  }
  int world_rank(int rank) const { return group_->ranks[static_cast<size_t>(rank)]; }
  std::string where() const { return describe(*call_) + " on rank " + std::to_string(world_rank(rank_)); }

  const std::shared_ptr<Hub> hub_;
  const std::shared_ptr<SharedGroup> group_;
  const int rank_;                        // in the group
  std::vector<int64_t> sent_, received_;  // messages to and from each rank
  const Call* call_ = nullptr;
  std::array<Slot, kSlots> slots_;
};

// Delays and kills, around a communicator.
class Disturbed final : public Communicator {
 public:
  Disturbed(std::unique_ptr<Communicator> calm, std::shared_ptr<Hub> hub, int world_rank,
            std::shared_ptr<std::atomic<int64_t>> calls)
      : calm_(std::move(calm)),
        hub_(std::move(hub)),
        world_rank_(world_rank),
        calls_(std::move(calls)) {}

  const char* name() const override { return calm_->name(); }
  int rank() const override { return calm_->rank(); }
  int size() const override { return calm_->size(); }
  void all_gather(const char* label, const void* part, void* all, int64_t part_bytes) override {
    disturb([&] { calm_->all_gather(label, part, all, part_bytes); });
  }
  void all_to_all(const char* label, const void* send, void* receive, int64_t part_bytes) override {
    disturb([&] { calm_->all_to_all(label, send, receive, part_bytes); });
  }
  void reduce_scatter(const char* label, const float* send, float* receive, int64_t part_elements) override {
    disturb([&] { calm_->reduce_scatter(label, send, receive, part_elements); });
  }
  void broadcast(const char* label, void* data, int64_t bytes, int root) override {
    disturb([&] { calm_->broadcast(label, data, bytes, root); });
  }
  void barrier(const char* label) override {
    disturb([&] { calm_->barrier(label); });
  }

 private:
  template <typename Body> void disturb(const Body& body) {
    const int64_t call = calls_->fetch_add(1);
    const auto& kill = hub_->options.kill;
    if (kill && kill->rank == world_rank_ && kill->call == call) throw RankKilled{world_rank_, call};
    delay();
    body();
    delay();
  }
  void delay() {
    const ThreadWorldOptions& options = hub_->options;
    if (options.max_delay_us == 0) return;
    const Philox philox(options.seed ^ hash_name(name()), Purpose::kSynthetic);
    const auto draw = integer_at(philox, world_rank_, delays_++, static_cast<uint32_t>(options.max_delay_us) + 1);
    std::this_thread::sleep_for(std::chrono::microseconds(draw));
  }

  const std::unique_ptr<Communicator> calm_;
  const std::shared_ptr<Hub> hub_;
  const int world_rank_;
  const std::shared_ptr<std::atomic<int64_t>> calls_;  // of this rank, over all groups
  uint64_t delays_ = 0;
};

class ThreadSideChannel final : public SideChannel {
 public:
  ThreadSideChannel(std::shared_ptr<Hub> hub, int rank) : hub_(std::move(hub)), known_(hub_->size) {
    known_[static_cast<size_t>(rank)] = true;
  }
  void tell(const RankCalls& mine) override { hub_->tell(mine); }
  std::vector<RankCalls> hear() override { return hub_->hear(known_); }

 private:
  const std::shared_ptr<Hub> hub_;
  std::vector<bool> known_;
};

class ThreadWorld final : public World {
 public:
  ThreadWorld(std::shared_ptr<Hub> hub, int rank) : World(rank), hub_(std::move(hub)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return hub_->size; }
  int local_rank() const override { return rank_ % node(); }
  int local_size() const override { return std::min(node(), size() - rank_ / node() * node()); }

  using World::make_group;
  std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int>& ranks) override {
    const auto me = std::find(ranks.begin(), ranks.end(), rank_);
    CHECK(me != ranks.end()) << "rank " << rank_ << " makes a group " << name << " that it is not in";
    const GroupPlace place{name, static_cast<int>(me - ranks.begin()), static_cast<int>(ranks.size())};
    CallLog::Group& calls = calls_->make_group(name, ranks);
    const auto shared = hub_->group(groups_++, name, ranks);
    std::unique_ptr<Transport> transport;
    if (place.size > 1) transport = std::make_unique<ThreadTransport>(hub_, shared, place.rank);
    calls.finish();
    return std::make_unique<Disturbed>(make_communicator(place, std::move(transport), calls_, calls), hub_, rank_,
                                       calls_made_);
  }

  std::unique_ptr<SideChannel> make_side_channel() override { return std::make_unique<ThreadSideChannel>(hub_, rank_); }
  void abort(int, const std::string& why) override { hub_->end(rank_, why); }

 private:
  int node() const { return hub_->options.local_size > 0 ? hub_->options.local_size : size(); }

  const std::shared_ptr<Hub> hub_;
  const int rank_;
  int64_t groups_ = 0;
  const std::shared_ptr<std::atomic<int64_t>> calls_made_ = std::make_shared<std::atomic<int64_t>>(0);
};

// Runs the rank; what it threw, or null.
std::exception_ptr run_rank(ThreadWorld& world, const std::function<void(World&)>& body) {
  try {
    body(world);
    return nullptr;
  } catch (const RankKilled& killed) {
    world.abort(0, "killed at its call " + std::to_string(killed.call));
    return std::current_exception();
  } catch (const std::exception& error) {
    world.abort(0, error.what());
    return std::current_exception();
  }
}

bool is_echo(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const EndedByOther&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

void run_ranks(int ranks, const ThreadWorldOptions& options, const std::function<void(World&)>& body) {
  const auto hub = std::make_shared<Hub>(ranks, options);
  std::vector<std::exception_ptr> errors(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      ThreadWorld world(hub, rank);
      errors[static_cast<size_t>(rank)] = run_rank(world, body);
    });
  for (std::thread& thread : threads) thread.join();
  std::erase(errors, nullptr);
  std::stable_partition(errors.begin(), errors.end(), [](const auto& error) { return !is_echo(error); });
  if (!errors.empty()) std::rethrow_exception(errors.front());
}

}  // namespace shardit
