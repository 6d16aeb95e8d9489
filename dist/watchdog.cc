#include "dist/watchdog.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "dist/diagnosis.h"

namespace shardit {

Watchdog::Watchdog(World& world, const WatchdogOptions& options, Handler handler)
    : rank_(world.rank()),
      calls_(world.calls()),
      options_(options),
      handler_(std::move(handler)),
      channel_(world.make_side_channel()),
      ranks_(static_cast<size_t>(world.size())) {
  for (int rank = 0; rank < world.size(); ++rank) ranks_[static_cast<size_t>(rank)] = {.rank = rank, .answered = false};
  thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watchdog::watch() {
  const double look_every_s = std::min(0.1, options_.limit_s / 10);
  try {
    while (!stop_within(look_every_s)) {
      if (!hear() && static_cast<double>(calls_.longest_running_ns()) <= options_.limit_s * 1e9) continue;
      if (gather()) handler_(diagnose(ranks_), tells());
      return;
    }
  } catch (const Error& error) {
    handler_(std::string("the watchdog failed: ") + error.what(), true);
  }
}

bool Watchdog::hear() {
  const std::vector<RankCalls> news = channel_->hear();
  for (const RankCalls& rank : news) ranks_[static_cast<size_t>(rank.rank)] = rank;
  return !news.empty();
}

bool Watchdog::stop_within(double s) {
  std::unique_lock lock(mutex_);
  return wake_.wait_for(lock, std::chrono::duration<double>(s), [this] { return stopping_; });
}

bool Watchdog::gather() {
  const RankCalls& mine = ranks_[static_cast<size_t>(rank_)] = calls_.snapshot();
  channel_->tell(mine);
  const auto all_answered = [this] { return std::ranges::all_of(ranks_, &RankCalls::answered); };
  const int64_t until = steady_now_ns() + static_cast<int64_t>(options_.answer_s * 1e9);
  for (hear(); !all_answered() && steady_now_ns() < until; hear())
    if (stop_within(0.01)) return false;  // its rank goes on, or ends by another's diagnosis
  return true;
}

bool Watchdog::tells() const { return std::ranges::find_if(ranks_, &RankCalls::answered)->rank == rank_; }

}  // namespace shardit
