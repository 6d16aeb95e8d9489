#include "dist/thread_world.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include <glog/logging.h>

#include "core/random.h"
#include "dist/collectives.h"
#include "dist/side_channel.h"
#include "dist/thread_hub.h"

namespace shardit {
namespace {

using thread_world::EndedByOther;
using thread_world::Hub;

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
  int local_rank() const override { return rank_ % per_node(); }
  int node() const override { return rank_ / per_node() * per_node(); }
  int local_size() const override { return std::min(per_node(), size() - node()); }

  using World::make_group;
  std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int>& ranks) override {
    const auto me = std::find(ranks.begin(), ranks.end(), rank_);
    CHECK(me != ranks.end()) << "rank " << rank_ << " makes a group " << name << " that it is not in";
    const GroupPlace place{name, static_cast<int>(me - ranks.begin()), static_cast<int>(ranks.size())};
    CallLog::Group& calls = calls_->make_group(name, ranks);
    const auto shared = hub_->group(groups_[ranks]++, name, ranks);
    std::unique_ptr<Transport> transport;
    if (place.size > 1) transport = thread_world::make_transport(hub_, shared, place.rank);
    calls.finish();
    return std::make_unique<Disturbed>(make_communicator(place, std::move(transport), calls_, calls), hub_, rank_,
                                       calls_made_);
  }

  std::unique_ptr<SideChannel> make_side_channel() override { return std::make_unique<ThreadSideChannel>(hub_, rank_); }
  void abort(int, const std::string& why) override { hub_->end(rank_, why); }

 private:
  int per_node() const { return hub_->options.local_size > 0 ? hub_->options.local_size : size(); }

  const std::shared_ptr<Hub> hub_;
  const int rank_;
  std::map<std::vector<int>, int64_t> groups_;  // of these ranks, so far
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
