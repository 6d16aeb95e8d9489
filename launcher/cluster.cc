#include "launcher/cluster.h"

#include <algorithm>

#include "checkpoints/file_system.h"
#include "core/error.h"
#include "dist/collective_ops.h"
#include "launcher/cluster.pb.h"
#include "launcher/nearest.h"
#include "launcher/proto_text.h"
#include "launcher/run_setup.h"
#include "ops/cards.h"

namespace shardit {
namespace {

// Shares of the limits: docs/results.md, DiffiT-XL/2 at 512 × 512 and 64 images a micro-batch. The two cards are one
// chip; of the H100 nothing was measured.
constexpr const char* kHopper = R"(
  gpus: true  ranks_per_node: 8
  fp32_tflops: 50  tf32_tflops: 395  bf16_tflops: 788  stated_bf16_tflops: 989
  op { card: "linear"  of_limit: 0.86 }
  op { card: "linear_dgrad"  of_limit: 0.87 }
  op { card: "linear_wgrad_bias"  of_limit: 0.75 }
  op { card: "linear_gelu"  of_limit: 0.73 }
  op { card: "linear_dgrad_gelu"  of_limit: 0.82 }
  op { card: "attention"  of_limit: 0.97  bytes_apart: 0.78 }
  op { card: "attention_grad"  of_limit: 0.78  bytes_apart: 0.29 }
  of_limit: 1
  kernel_us: 3  between_rounds_ms: 0.1
  inside { gb_per_s: 350  step_us: 2 }
  across { gb_per_s: 46  step_us: 5 }
)";

struct Known {
  const char *name, *common, *text;
};
constexpr Known kKnown[] = {
    {"h200-ib400", kHopper,
     "about: 'compute and memory as measured on one H200; NVLink and 400 Gbit/s a GPU between nodes assumed, not "
     "measured'  memory_gib: 138  copies_gb_per_s: 3900"},
    {"h100-ib400", kHopper,
     "about: 'not measured: compute of an H200, memory by the ratio of NVIDIA\\'s figures; NVLink and 400 Gbit/s a GPU "
     "between nodes assumed'  memory_gib: 78  copies_gb_per_s: 2720"},
    {"cpu", R"(
  op { card: "linear"  of_limit: 0.97  of_limit_in_bf16: 0.56 }
  op { card: "linear_dgrad"  of_limit: 0.97  of_limit_in_bf16: 0.63 }
  op { card: "linear_wgrad_bias"  of_limit: 0.89  of_limit_in_bf16: 0.37 }
  op { card: "linear_gelu"  of_limit: 0.87  of_limit_in_bf16: 0.37 }
  op { card: "linear_dgrad_gelu"  of_limit: 0.81  of_limit_in_bf16: 0.37 }
  op { card: "attention"  of_limit: 0.54  of_limit_in_bf16: 0.13 }
  op { card: "attention_grad"  of_limit: 0.60  of_limit_in_bf16: 0.13 }
  of_limit: 0.5
  inside { gb_per_s: 4.5  step_us: 3.1 }
  across { gb_per_s: 1.2  step_us: 30 }
)",
     "about: 'products and copies as measured now on this machine; shares of these limits and the link of ranks of one "
     "machine as on a Xeon with AMX; between machines 10 Gbit/s assumed'"},
};

using Given = pb::Cluster;

constexpr double kMost = 1e9;  // of any number, so that none overflows

double positive(double x, const std::string& key, const std::string& name) {
  REQUIRE(x > 0 && x < kMost, "cluster " + name + ": " + key + " is not given, or not greater than 0 and below 1e9");
  return x;
}
double not_negative(double x, const std::string& key, const std::string& name) {
  REQUIRE(x >= 0 && x < kMost, "cluster " + name + ": " + key + " is below 0, or not below 1e9");
  return x;
}

Link link_of(const Given::Link& given, const char* key, const std::string& name) {
  const std::string in = std::string(key) + ".";
  return {.step_us = not_negative(given.step_us(), in + "step_us", name),
          .gb_per_s = positive(given.gb_per_s(), in + "gb_per_s", name)};
}

std::map<std::string, Cluster::Share> shares_of(const Given& given, const std::string& name) {
  std::vector<std::string> known;
  for (const OpCard* card : all_cards()) known.emplace_back(card->name);
  std::map<std::string, Cluster::Share> shares;
  for (const Given::Op& op : given.op()) {
    REQUIRE(std::find(known.begin(), known.end(), op.card()) != known.end(),
            "cluster " + name + ": there is no op '" + op.card() + "'" +
                (nearest(op.card(), known).empty() ? "" : ": did you mean '" + nearest(op.card(), known) + "'?"));
    const double fp32 = positive(op.of_limit(), "of_limit of an op", name);
    shares[op.card()] = {
        .fp32 = fp32,
        .bf16 = op.has_of_limit_in_bf16() ? positive(op.of_limit_in_bf16(), "of_limit_in_bf16", name) : fp32,
        .bytes_apart = op.has_bytes_apart() ? positive(op.bytes_apart(), "bytes_apart", name) : 0};
  }
  return shares;
}

Ceilings given_ceilings(const Given& given, const std::string& name, bool tf32) {
  const double bytes_per_s = positive(given.copies_gb_per_s(), "copies_gb_per_s", name) * 1e9;
  return {.tf32 = tf32,
          .fp32_flops_per_s = 1e12 * (tf32 ? positive(given.tf32_tflops(), "tf32_tflops", name)
                                           : positive(given.fp32_tflops(), "fp32_tflops", name)),
          .bf16_flops_per_s = 1e12 * positive(given.bf16_tflops(), "bf16_tflops", name),
          .copies = {{0, bytes_per_s}}};
}

// Copies of a size that no cache holds.
Ceilings measured_ceilings(const RunConfig& config, int threads) {
  const auto device = make_cpu_device();
  const bool bf16 = config.precision().compute() == RunConfig::Precision::bf16;
  Ceilings ceilings{.fp32_flops_per_s = measure_products(*device, threads, DType::kF32)};
  ceilings.bf16_flops_per_s = bf16 ? measure_products(*device, threads, DType::kBF16) : ceilings.fp32_flops_per_s;
  ceilings.copies = {{0, measure_copy(*device, threads, int64_t{64} << 20).bytes_per_s}};
  return ceilings;
}

Cluster cluster_of(const Given& given, const std::string& name, const RunConfig& config, int threads) {
  const bool tf32 = multiplies_in_tf32(config), measures = !given.has_fp32_tflops() && !given.gpus();
  const double memory_gib = not_negative(given.memory_gib(), "memory_gib", name);
  return {.name = name,
          .about = given.about(),
          .gpus = given.gpus(),
          .ranks_per_node = static_cast<int>(not_negative(given.ranks_per_node(), "ranks_per_node", name)),
          .memory_bytes = static_cast<int64_t>(memory_gib * (int64_t{1} << 30)),
          .ceilings = measures ? measured_ceilings(config, threads) : given_ceilings(given, name, tf32),
          .stated_bf16_flops_per_s = not_negative(given.stated_bf16_tflops(), "stated_bf16_tflops", name) * 1e12,
          .of_limit = shares_of(given, name),
          .others_of_limit = positive(given.of_limit(), "of_limit", name),
          .kernel_ms = not_negative(given.kernel_us(), "kernel_us", name) * 1e-3,
          .between_rounds_ms = not_negative(given.between_rounds_ms(), "between_rounds_ms", name),
          .inside = link_of(given.inside(), "inside", name),
          .across = link_of(given.across(), "across", name)};
}

// Of the group's ranks, those on the node of rank 0, which is in it.
int ranks_on_node(const Mesh& mesh, const std::string& group, int per_node) {
  const auto count = [&](const std::vector<int>& ranks) {
    return static_cast<int>(std::count_if(ranks.begin(), ranks.end(), [&](int r) { return r < per_node; }));
  };
  if (group == mesh.shard.name) return count(ranks_of_shard_group(mesh));
  if (group == mesh.replicate.name) return count(ranks_of_replicate_group(mesh));
  return std::min(mesh.ranks(), per_node);
}

}  // namespace

double Cluster::peak_flops_per_s(DType products) const {
  return products == DType::kBF16 && stated_bf16_flops_per_s > 0 ? stated_bf16_flops_per_s
                                                                 : ceilings.flops_per_s(products);
}

std::vector<std::string> cluster_names() {
  std::vector<std::string> names;
  for (const Known& known : kKnown) names.emplace_back(known.name);
  return names;
}

Cluster parse_cluster(const std::string& text, const std::string& name, const RunConfig& config, int threads) {
  Given given;
  const std::string complaint = parse_proto_text(text, given);
  REQUIRE(complaint.empty(), "cluster " + name + complaint + "\nfix: docs/plan.md has an example of such a file");
  return cluster_of(given, name, config, threads);
}

Cluster load_cluster(const std::string& wanted, const RunConfig& config, int threads) {
  for (const Known& known : kKnown)
    if (wanted == known.name) return parse_cluster(std::string(known.common) + known.text, wanted, config, threads);
  PosixFiles files;
  REQUIRE(files.kind(wanted) == PathKind::kFile,
          "--cluster " + wanted + ": there is no file of this name, and no cluster: expected a file, " +
              join_words(cluster_names()));
  return parse_cluster(read_file(files, wanted), wanted, config, threads);
}

double collective_ms(const Cluster& c, const Collective& collective, int on_node, double wire_bytes) {
  const int ranks = collective.ranks, nodes = (ranks + on_node - 1) / on_node;
  if (nodes == 1) return c.inside.us(ranks - 1, wire_bytes) * 1e-3;
  if (collective.direct) {  // to ranks of the node and of others at once
    const double of_one = wire_bytes / (ranks - 1);
    return std::max(c.inside.us(on_node - 1, of_one * (on_node - 1)),
                    c.across.us(ranks - on_node, of_one * (ranks - on_node))) *
           1e-3;
  }
  const double gb_per_s = std::min(on_node > 1 ? c.inside.gb_per_s : c.across.gb_per_s, on_node * c.across.gb_per_s);
  return (Link{0, gb_per_s}.us(0, wire_bytes) + (ranks - nodes) * c.inside.step_us + (nodes - 1) * c.across.step_us) *
         1e-3;
}

double kernel_ms(const Cluster& c, const NodeTypes& types, const OpCard& card) {
  Cost cost = card.cost(types);
  const DType products = type_of_products(types.in);
  Cluster::Share share{c.others_of_limit, c.others_of_limit};
  if (const auto listed = c.of_limit.find(card.name); listed != c.of_limit.end()) share = listed->second;
  double apart_ms = 0;
  if (share.bytes_apart > 0) {
    apart_ms = cost.bytes / c.ceilings.bytes_per_s(cost.bytes) / share.bytes_apart * 1e3;
    cost.bytes = 0;
  }
  const double reached = products == DType::kBF16 ? share.bf16 : share.fp32;
  return std::max(c.kernel_ms, c.ceilings.floor(cost, products).ms / reached + apart_ms);
}

Pace pace_of(const Cluster& cluster, const Mesh& mesh) {
  const auto node_ms = [cluster, mesh](const Graph& graph, const Node& node) {
    if (!touches_memory(graph, node)) return 0.0;
    const NodeTypes types = types_of(graph, node);
    const auto collective = collective_of(node);
    if (!collective) return kernel_ms(cluster, types, *node.card);
    const int per_node = cluster.ranks_per_node > 0 ? cluster.ranks_per_node : mesh.ranks();
    return collective_ms(cluster, *collective, ranks_on_node(mesh, collective->group, per_node),
                         node.card->cost(types).wire_bytes);
  };
  return {.node_ms = node_ms,
          .between_ms = cluster.between_rounds_ms,
          .issue = cluster.gpus ? Issue::kAhead : Issue::kComputing};
}

}  // namespace shardit
