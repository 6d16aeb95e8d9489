// What one rank has asked of its groups, call by call: for error messages and for the watchdog. Every communicator of
// a rank's world writes here; another thread may read at any time. Nothing is allocated once a group is made.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace shardit {

enum class CallOp : int32_t { kMakeGroup, kAllGather, kAllToAll, kReduceScatter, kBroadcast, kBarrier };

// Plain bytes: travels between ranks as it is.
struct Call {
  uint64_t group_id = 0;                // of (name, ranks): tells groups of one name apart
  char group[24] = "", label[48] = "";  // cut off where they are longer
  CallOp op = CallOp::kMakeGroup;
  int32_t root = 0;    // of a broadcast
  int64_t number = 0;  // within the group; 0 is the making of the group
  int64_t bytes = 0;   // as given: of a part, or of all that is broadcast
  uint64_t hash = 0;   // of (group, op, root, bytes, label) of this call and of all before it in the group
  int64_t started_ns = 0, finished_ns = 0;  // steady clock of its node; 0: still running

  bool running() const { return finished_ns == 0; }
};

// One line: all_gather "blocks.7" (group shard, call 12, 4096 bytes)
std::string describe(const Call& call);
// They ask for the same thing.
bool agree(const Call& a, const Call& b);

struct RankCalls {
  int rank = 0;             // in the world
  bool answered = true;     // false: nothing was heard of it, and the rest says nothing
  int64_t now_ns = 0;       // when this was written down, on the clock of `calls`
  std::vector<Call> calls;  // the last ones of each group, in the order in which they began
};

int64_t steady_now_ns();

class CallLog {
 public:
  static constexpr int kKept = 16;  // calls per group

  // The calls of one group, made by one thread at a time.
  class Group {
   public:
    // A call of the group that has not begun: without number, hash and times. `label` null stands for none.
    Call make(CallOp op, const char* label, int64_t bytes, int root = 0) const;
    // The call is valid until kKept further ones.
    const Call& begin(CallOp op, const char* label, int64_t bytes, int root = 0);
    void finish();  // the last one begun; a call that failed is left running

   private:
    friend class CallLog;
    CallLog* log_ = nullptr;
    Call name_;  // what all calls of the group have in common
    int64_t begun_ = 0;
    uint64_t hash_ = 0;
    std::array<Call, kKept> last_;
    Call& newest() { return last_[static_cast<size_t>((begun_ - 1) % kKept)]; }
  };

  explicit CallLog(int rank) : rank_(rank) {}
  CallLog(const CallLog&) = delete;
  CallLog& operator=(const CallLog&) = delete;

  // Its making is the group's first call and runs until finish(). The group lives as long as the log.
  Group& make_group(const std::string& name, const std::vector<int>& ranks);

  // Called before anyone reads the log, by the thread that reads: for calls of which the log hears by being told only
  // (dist/wire_calls.h). Null: nobody; returns when no such call is under way.
  void before_reads(std::function<void()> tell);

  int rank() const { return rank_; }
  RankCalls snapshot() const;
  int64_t longest_running_ns() const;  // 0 if no call is running
  // Of all calls of all groups. Equal on ranks that made the same calls in groups of the same names, however calls on
  // different groups fell among each other.
  uint64_t hash() const;

 private:
  void hear() const;

  const int rank_;
  mutable std::mutex tell_mutex_;  // guards tell_; held before mutex_
  std::function<void()> tell_;
  mutable std::mutex mutex_;
  std::deque<Group> groups_;  // guarded by mutex_, and so is what lies in them
};

}  // namespace shardit
