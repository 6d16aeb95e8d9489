#include "dist/sub_world.h"

#include <algorithm>
#include <numeric>

#include <glog/logging.h>

#include "dist/side_channel.h"

namespace shardit {
namespace {

class SubWorld final : public World {
 public:
  SubWorld(World& job, int ranks) : World(job.call_log()), job_(job), size_(ranks) {
    CHECK(job.rank() < ranks) << "rank " << job.rank() << " is not among the first " << ranks;
    const int mine = job.node();
    std::vector<int> nodes(static_cast<size_t>(ranks));
    make_group("nodes")->all_gather("nodes", &mine, nodes.data(), sizeof mine);
    local_size_ = static_cast<int>(std::count(nodes.begin(), nodes.end(), mine));
    local_rank_ = static_cast<int>(std::count(nodes.begin(), nodes.begin() + job.rank(), mine));
  }

  int rank() const override { return job_.rank(); }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }
  int node() const override { return job_.node(); }

  using World::make_group;
  std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int>& ranks) override {
    return job_.make_group(name, ranks);
  }
  std::unique_ptr<SideChannel> make_side_channel() override {
    LOG(FATAL) << "a watchdog watches the whole job: its side channel is made from the job's world";
  }
  void abort(int exit_code, const std::string& why) override { job_.abort(exit_code, why); }

 private:
  World& job_;
  const int size_;
  int local_rank_ = 0, local_size_ = 1;
};

}  // namespace

std::unique_ptr<World> make_sub_world(World& job, int ranks) { return std::make_unique<SubWorld>(job, ranks); }

}  // namespace shardit
