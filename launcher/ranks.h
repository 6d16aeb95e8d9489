// What the ranks of a run tell each other between graphs: decisions that all of them must take alike.
//
// Every rank makes the same calls in the same order, from one thread. With one rank nothing is sent.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "dist/agree.h"
#include "dist/world.h"

namespace shardit {

class Ranks {
 public:
  explicit Ranks(World& world) : world_(world), control_(world.make_group("control")) {}

  int rank() const { return world_.rank(); }
  int size() const { return world_.size(); }
  bool first() const { return rank() == 0; }  // the one that speaks
  World& world() const { return world_; }

  // Every rank's value, in order of ranks.
  template <typename T> std::vector<T> all(const char* what, const T& mine) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::vector<T> result(static_cast<size_t>(size()));
    control_->all_gather(what, &mine, result.data(), sizeof(T));
    return result;
  }
  std::vector<std::string> all_texts(const char* what, const std::string& mine) {
    return gather_texts(*control_, what, mine);
  }
  std::string from_first(const char* what, const std::string& text) { return broadcast_text(*control_, what, text); }
  bool any(const char* what, bool mine);  // whether it holds on some rank

  // What goes wrong on one rank goes wrong on all (dist/agree.h): `work` of every rank, or of rank 0 alone.
  void together(const char* what, const std::function<void()>& work) {
    all_work(*control_, what, [&] { return work(), std::string(); });
  }
  void on_first(const char* what, const std::function<void()>& work) {
    rank_zero_works(*control_, what, [&] { return work(), std::string(); });
  }

  Communicator& control() { return *control_; }

 private:
  World& world_;
  std::unique_ptr<Communicator> control_;
};

// Batches dealt out to ranks: in round i rank r takes batch i * ranks + r. Where they do not come out even, some ranks
// repeat the last batch in the last round, since all must run the graphs that hold collectives; nobody counts that.
class SharedWork {
 public:
  SharedWork(int64_t batches, const Ranks& ranks) : batches_(batches), ranks_(ranks) {}

  int64_t rounds() const { return (batches_ + ranks_.size() - 1) / ranks_.size(); }
  int64_t first_of(int64_t round) const { return round * ranks_.size(); }
  int64_t count_of(int64_t round) const { return std::min<int64_t>(ranks_.size(), batches_ - first_of(round)); }
  int64_t mine(int64_t round) const { return std::min(first_of(round) + ranks_.rank(), batches_ - 1); }
  bool repeats(int64_t round) const { return ranks_.rank() >= count_of(round); }  // another rank has it as well

 private:
  int64_t batches_;
  const Ranks& ranks_;
};

}  // namespace shardit
