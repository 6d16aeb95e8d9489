// What the ranks of a ThreadWorld share; only its own files include this.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "dist/call_log.h"
#include "dist/thread_world.h"
#include "dist/transport.h"

namespace shardit::thread_world {

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

  // The n-th group of these ranks: found, or made by the first of them that asks.
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

// Rank `rank` of the group.
std::unique_ptr<Transport> make_transport(std::shared_ptr<Hub> hub, std::shared_ptr<SharedGroup> group, int rank);

}  // namespace shardit::thread_world
