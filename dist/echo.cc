#include "dist/echo.h"

#include <cstring>

namespace shardit {
namespace {

class Echo final : public Communicator {
 public:
  explicit Echo(const Group& group) : name_(group.name), size_(group.size), rank_(group.rank) {}

  const char* name() const override { return name_.c_str(); }
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_gather(const char*, const void* part, void* all, int64_t part_bytes) override {
    repeat(part, all, part_bytes);
  }
  void all_to_all(const char*, const void* send, void* receive, int64_t part_bytes) override {
    repeat(static_cast<const char*>(send) + rank_ * part_bytes, receive, part_bytes);
  }
  void reduce_scatter(const char*, const float* send, float* receive, int64_t part_elements) override {
    std::memmove(receive, send + rank_ * part_elements, static_cast<size_t>(part_elements) * sizeof(float));
  }
  void broadcast(const char*, void*, int64_t, int) override {}
  void barrier(const char*) override {}

 private:
  // `part` may lie at its place in `all`.
  void repeat(const void* part, void* all, int64_t part_bytes) const {
    char* const own = static_cast<char*>(all) + rank_ * part_bytes;
    std::memmove(own, part, static_cast<size_t>(part_bytes));
    for (int r = 0; r < size_; ++r)
      if (r != rank_) std::memcpy(static_cast<char*>(all) + r * part_bytes, own, static_cast<size_t>(part_bytes));
  }

  std::string name_;
  int size_, rank_;
};

}  // namespace

Mesh make_echo_mesh(int ranks, int rank, int replicas) {
  Mesh mesh = plan_mesh(ranks, rank, replicas);
  for (Group* group : {&mesh.world, &mesh.shard, &mesh.replicate}) group->communicator = std::make_shared<Echo>(*group);
  return mesh;
}

}  // namespace shardit
