// A message is a pointer into the sender's memory: the receiver copies it out, and the sender goes on when it has.
#include <cstring>
#include <thread>
#include <utility>

#include <glog/logging.h>

#include "dist/thread_hub.h"

namespace shardit::thread_world {
namespace {

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

}  // namespace

std::unique_ptr<Transport> make_transport(std::shared_ptr<Hub> hub, std::shared_ptr<SharedGroup> group, int rank) {
  return std::make_unique<ThreadTransport>(std::move(hub), std::move(group), rank);
}

}  // namespace shardit::thread_world
