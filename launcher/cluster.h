// The machines that a run is planned for, as `shardit plan` sees them: how fast a rank computes, and what lies between
// ranks. Some are known by name; others are files of the message Cluster (cluster.proto).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "dist/collective_ops.h"
#include "launcher/ceilings.h"
#include "launcher/link.h"
#include "launcher/predict.h"
#include "launcher/run_config.pb.h"

namespace shardit {

struct Cluster {
  std::string name, about;
  bool gpus = false;
  int ranks_per_node = 0;    // 0: all are on one
  int64_t memory_bytes = 0;  // that a rank may use; 0: not known
  Ceilings ceilings;
  double stated_bf16_flops_per_s = 0;  // 0: MFU counts against the ceiling
  struct Share {
    double fp32 = 1, bf16 = 1;  // by what is multiplied, or moved
    double bytes_apart = 0;     // of copies, where bytes do not move beside the flops; 0: they do
  };
  std::map<std::string, Share> of_limit;  // by card
  double others_of_limit = 1;
  double kernel_ms = 0, between_rounds_ms = 0;
  Link inside, across;

  double peak_flops_per_s(DType products) const;  // of a rank, what MFU counts against
};

std::vector<std::string> cluster_names();
// `wanted`: one of these names, or a file. What it leaves to be measured on a CPU is measured here and now, with as
// many threads and in the types that `config` computes in: less than a second. UserError where it is neither, naming
// the line of what is wrong in a file.
Cluster load_cluster(const std::string& wanted, const RunConfig& config, int threads);
// The text of a file. `name` is it in errors.
Cluster parse_cluster(const std::string& text, const std::string& name, const RunConfig& config, int threads);

// A collective of a group of `ranks`, `on_node` of them on each node. Around a ring all links are busy at once, and the
// ranks of a node share its way out; direct bytes each go their own way.
double collective_ms(const Cluster& cluster, const Collective& collective, int on_node, double wire_bytes);

// A kernel of this card, on such tensors.
double kernel_ms(const Cluster& cluster, const NodeTypes& types, const OpCard& card);

// How long the nodes of rank 0's graphs take.
Pace pace_of(const Cluster& cluster, const Mesh& mesh);

}  // namespace shardit
