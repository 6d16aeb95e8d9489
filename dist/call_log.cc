#include "dist/call_log.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/random.h"

namespace shardit {
namespace {

const char* name_of(CallOp op) {
  switch (op) {
    case CallOp::kMakeGroup:
      return "make_group";
    case CallOp::kAllGather:
      return "all_gather";
    case CallOp::kAllToAll:
      return "all_to_all";
    case CallOp::kReduceScatter:
      return "reduce_scatter";
    case CallOp::kBroadcast:
      return "broadcast";
    case CallOp::kBarrier:
      return "barrier";
  }
  return "?";
}

template <size_t N> void copy_text(char (&to)[N], const char* from) {
  std::strncpy(to, from, N - 1);
  to[N - 1] = '\0';
}

// splitmix64's finaliser over what came before and one more word.
uint64_t mix(uint64_t hash, uint64_t word) {
  uint64_t z = (hash ^ word) + 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace

int64_t steady_now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string describe(const Call& call) {
  std::string text = name_of(call.op);
  if (call.label[0]) text += " \"" + std::string(call.label) + "\"";
  text += " (group " + std::string(call.group);
  if (call.op == CallOp::kMakeGroup) return text + ")";
  text += ", call " + std::to_string(call.number);
  if (call.op == CallOp::kBroadcast) text += ", root " + std::to_string(call.root);
  if (call.op != CallOp::kBarrier) text += ", " + std::to_string(call.bytes) + " bytes";
  return text + ")";
}

bool agree(const Call& a, const Call& b) {
  return a.op == b.op && a.root == b.root && a.bytes == b.bytes && std::strcmp(a.label, b.label) == 0;
}

Call CallLog::Group::make(CallOp op, const char* label, int64_t bytes, int root) const {
  Call call = name_;
  call.op = op;
  call.root = root;
  call.bytes = bytes;
  if (label) copy_text(call.label, label);
  return call;
}

const Call& CallLog::Group::begin(CallOp op, const char* label, int64_t bytes, int root) {
  const std::lock_guard lock(log_->mutex_);
  Call call = make(op, label, bytes, root);
  call.number = begun_;
  for (uint64_t word : {static_cast<uint64_t>(op), static_cast<uint64_t>(root), static_cast<uint64_t>(bytes),
                        label ? hash_name(label) : 0})
    hash_ = mix(hash_, word);
  call.hash = hash_;
  call.started_ns = steady_now_ns();
  ++begun_;
  return newest() = call;
}

void CallLog::Group::finish() {
  const std::lock_guard lock(log_->mutex_);
  newest().finished_ns = steady_now_ns();
}

CallLog::Group& CallLog::make_group(const std::string& name, const std::vector<int>& ranks) {
  Group* group;
  {
    const std::lock_guard lock(mutex_);
    group = &groups_.emplace_back();
    group->log_ = this;
    group->hash_ = hash_name(name);
    group->name_.group_id = group->hash_;
    for (int rank : ranks) group->name_.group_id = mix(group->name_.group_id, static_cast<uint64_t>(rank));
    copy_text(group->name_.group, name.c_str());
  }
  group->begin(CallOp::kMakeGroup, nullptr, 0);
  return *group;
}

void CallLog::before_reads(std::function<void()> tell) {
  const std::lock_guard lock(tell_mutex_);
  tell_ = std::move(tell);
}

void CallLog::hear() const {
  const std::lock_guard lock(tell_mutex_);
  if (tell_) tell_();
}

RankCalls CallLog::snapshot() const {
  hear();
  const std::lock_guard lock(mutex_);
  RankCalls result{.rank = rank_, .now_ns = steady_now_ns()};
  for (const Group& group : groups_)
    for (int64_t i = std::max<int64_t>(0, group.begun_ - kKept); i < group.begun_; ++i)
      result.calls.push_back(group.last_[static_cast<size_t>(i % kKept)]);
  std::stable_sort(result.calls.begin(), result.calls.end(),
                   [](const Call& a, const Call& b) { return a.started_ns < b.started_ns; });
  return result;
}

int64_t CallLog::longest_running_ns() const {
  hear();
  const std::lock_guard lock(mutex_);
  const int64_t now = steady_now_ns();
  int64_t longest = 0;
  for (const Group& group : groups_) {
    const Call& call = group.last_[static_cast<size_t>((group.begun_ - 1) % kKept)];
    if (call.running()) longest = std::max(longest, now - call.started_ns);
  }
  return longest;
}

uint64_t CallLog::hash() const {
  hear();
  const std::lock_guard lock(mutex_);
  uint64_t sum = 0;
  for (const Group& group : groups_) sum += group.hash_;
  return sum;
}

}  // namespace shardit
