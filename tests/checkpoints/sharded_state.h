// A state that several ranks share: units of odd sizes in three kinds, dealt out as the trainer does.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "checkpoints/directory.h"
#include "checkpoints/load.h"
#include "checkpoints/parts.h"
#include "checkpoints/save.h"
#include "tests/checkpoints/ranks.h"
#include "tests/checkpoints/tiny_state.h"

namespace shardit {

// Tensors that end inside a chunk, on its end and after one element; a unit of one chunk, and one of many.
inline Layout odd_layout() {
  Layout layout;
  layout.units = {{"embed"}, {"tiny"}, {"block"}};
  layout.units[0].add("embed.weight", {3, 700}, {});
  layout.units[0].add("embed.bias", {1}, {});
  layout.units[1].add("tiny.scale", {5}, {});
  layout.units[2].add("block.qkv", {2, 1024}, {});
  layout.units[2].add("block.proj", {5, 1025}, {});
  layout.units[2].add("block.bias", {1023}, {});
  return layout;
}

inline RunState run_by(int ranks, int64_t step) {
  RunState run = run_at(step);
  run.ranks = ranks;
  return run;
}

// What one of `shards` ranks holds. Values are a function of (variant, tensor, element), padding is zero.
class ShardedState {
 public:
  ShardedState(int shard, int shards, int variant = 0) : layout_(odd_layout().padded(shards)) {
    for (const char* kind : {"params", "adam.m", "ema.slow"})
      for (const Unit& unit : layout_.units) {
        std::vector<float>& memory = memory_[kind + ("/" + unit.name)];
        memory.resize(unit.shard_elements(shards));
        for (TensorPart& part : shard_parts(kind, unit, shard, shards, memory.data())) parts_.push_back(part);
      }
    for (size_t t = 0; t < parts_.size(); ++t)
      for (int64_t i = 0; i < parts_[t].count; ++i)
        static_cast<float*>(parts_[t].data)[i] = value_of(variant, t, parts_[t].first + i);
  }
  ShardedState(ShardedState&&) = default;

  const std::vector<TensorPart>& parts() const { return parts_; }
  // REQUIRES: it is the only shard.
  std::vector<StateTensor> tensors() const {
    std::vector<StateTensor> tensors;
    for (const TensorPart& part : parts_) tensors.push_back({part.name, part.dtype, part.shape, part.data});
    return tensors;
  }
  void clear() {
    for (auto& [name, memory] : memory_) std::fill(memory.begin(), memory.end(), 0.0f);
  }
  bool operator==(const ShardedState& other) const { return memory_ == other.memory_; }  // padding included

 private:
  static float value_of(int variant, size_t tensor, int64_t element) {  // all different, all exact
    return static_cast<float>(variant * 10'000 + element) + static_cast<float>(tensor) / 32;
  }

  Layout layout_;
  std::map<std::string, std::vector<float>> memory_;
  std::vector<TensorPart> parts_;
};

// Saves step `step` by so many ranks.
inline Ends save_by_ranks(FaultyFiles& files, int ranks, int64_t step, int variant) {
  return with_ranks(ranks, [&](Communicator& writers) {
    const ShardedState state(writers.rank(), ranks, variant);
    save_sharded(files, writers, "run", run_by(ranks, step), state.parts());
  });
}

// Which of the saved variants the newest checkpoint is, read and verified to its last byte; -1 if there is none.
inline int sharded_variant_on_disk(FileSystem& files) {
  const NewestCheckpoint newest = find_newest(files, "run");
  if (!newest.checkpoint) return -1;
  ShardedState loaded(0, 1);
  load_checkpoint(files, *newest.checkpoint, loaded.tensors());
  verify_checkpoint(files, *newest.checkpoint);
  for (int variant = 0; variant < 4; ++variant)
    if (loaded == ShardedState(0, 1, variant)) return variant;
  ADD_FAILURE() << "the checkpoint holds neither the old nor the new state";
  return -2;
}

}  // namespace shardit
