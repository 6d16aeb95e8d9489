// Who holds what: the ZeRO stages, as passes over graphs that were written for one rank.
//
//   stage   parameters   masters, moments, EMA   gradients of a step   before forward           after backward
//   0       whole        whole                   shard, then whole     nothing                  to owners, then to all
//   1, 2    whole        shard                   shard                 updated units gathered   to owners
//   3       shard        shard                   shard                 each unit gathered       to owners
//
// A unit is one flat buffer; shard s of S is the s-th of S equal parts (core/layout.h). In the canonical arithmetic
// each micro-batch's gradient goes to the owner of each shard in its own round, at every stage, and is folded there in
// order of micro-batches. On one rank nothing is sharded, whatever the stage, and the passes only add the fold.
// `fastest` sums where it is cheapest: at stages 0 and 1 each rank its own micro-batches, which travel once, after the
// last round; at stages 2 and 3, where no rank keeps a whole gradient, in each round while they travel.
#pragma once

#include <cstdint>
#include <string>

#include "core/graph.h"
#include "core/layout.h"
#include "dist/mesh.h"

namespace shardit {

struct Sharding {
  Mesh mesh = plan_mesh(1, 0, 1);
  int stage = 0;  // 0 to 3
  // Gathered parameters that may be in flight, and whole gradients: that many bytes each.
  int64_t prefetch_bytes = int64_t{256} << 20;

  int shards() const { return mesh.shard.size; }
  // Parts that the masters and optimizer state are cut into: 1 where every rank holds all of them.
  int state_shards() const { return stage >= 1 ? shards() : 1; }
  int state_shard() const { return stage >= 1 ? mesh.shard.rank : 0; }  // this rank's
  bool shards_parameters() const { return stage == 3 && shards() > 1; }
  bool gathers_updates() const { return (stage == 1 || stage == 2) && shards() > 1; }
  bool gathers_gradients() const { return stage == 0 && shards() > 1; }
};

// Units as they are read by one graph, from the buffers "SOURCE.UNIT" that hold the shards.
//
// Where they are gathered anew by each graph that reads them: a unit is gathered shortly before its use, cast first if
// the graph casts it, and its bytes are free for others after its last use; forward and backward gather it apart. A
// gather starts as soon as the units in flight and the new one fit prefetch_bytes. UserError with the least number that
// works if they never do.
Graph gather_where_used(const Graph& graph, const Layout& layout, const std::string& source, const Sharding& sharding);

// Where whole units are kept in the buffers "full.UNIT", which the update fills, unit by unit, while the graph computes
// with those that are there already.
Graph read_gathered(const Graph& graph, const Layout& layout, const std::string& source);

// How the gradients of a step's micro-batches are summed.
struct Reduction {
  int64_t micro_batches = 1;   // of a step, on all ranks
  int64_t fold_group = 8;      // micro-batches that are summed among themselves first
  DType reduce = DType::kF32;  // the type a gradient is rounded to before it is summed, in `fastest` before it travels
  bool fastest = false;        // else canonical: in the order of micro-batches
  bool last = true;            // the graph is that of a step's last round

  // Whether a rank sums its own micro-batches and sends them when it has all.
  bool sums_at_home(const Sharding& sharding) const;
};
// Whether the last round of a step needs a graph of its own.
bool last_round_differs(const Sharding& sharding, const Reduction& reduction);

// The outputs "grad.UNIT" of a micro-step, whole units of one micro-batch, become the persistent buffers "grad.UNIT" of
// the step's sum (of its shard), through "fold.UNIT" where there are several groups; what the last round gathers of it
// at stage 0 is "whole_grad.UNIT", and what a rank sums of its own is "home_grad.UNIT". "step.loss" becomes the losses
// of all ranks of the round, in order. Gradients that are made or on their way stay within prefetch_bytes; one may
// always be.
Graph reduce_gradients(const Graph& graph, const Layout& layout, const Sharding& sharding, const Reduction& reduction);

}  // namespace shardit
