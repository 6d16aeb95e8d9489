// Notices when ranks wait for each other without end, and says which one is to blame.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "dist/side_channel.h"
#include "dist/world.h"

namespace shardit {

struct WatchdogOptions {
  double limit_s = 600;  // a call that runs longer hangs; above what the slowest rank may be late by
  double answer_s = 5;   // how long the other ranks' answers are waited for
};

// One per rank. When a call of any rank runs longer than the limit, all ranks exchange their last calls, and `handler`
// gets the diagnosis, on every rank that can still run, once. It is called on the watchdog's thread. Of these ranks the
// lowest `tells` it.
class Watchdog {
 public:
  using Handler = std::function<void(const std::string& diagnosis, bool tells)>;

  // Collective over the world, which must outlive it. A rank without one does not answer: let it go only when all ranks
  // are through their calls.
  Watchdog(World& world, const WatchdogOptions& options, Handler handler);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void watch();
  bool hear();                 // true if news came
  bool stop_within(double s);  // waits so long; true if it shall end
  bool gather();               // the ranks' calls; false if it shall end
  bool tells() const;

  const int rank_;
  const CallLog& calls_;
  const WatchdogOptions options_;
  const Handler handler_;
  const std::unique_ptr<SideChannel> channel_;
  std::vector<RankCalls> ranks_;  // by rank; not answered until heard

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;     // last: it uses the rest
};

}  // namespace shardit
