#include "launcher/tune.h"

#include "core/error.h"
#include "launcher/bench_ops.h"
#include "launcher/resume_proof.h"
#include "launcher/run_device.h"
#include "launcher/run_products.h"
#include "launcher/run_setup.h"
#include "ops/cublaslt.h"

namespace shardit {
namespace {

// Tells nothing and notes what is asked for.
class AskedProducts : public ProductChoices {
 public:
  const LibraryAlgorithm* find(const Product& product, int64_t alignment) const override {
    if (alignment == kWideAlignment) products_.emplace(key_of(product, alignment), product);
    return nullptr;
  }
  std::vector<Product> list() const {
    std::vector<Product> all;
    for (const auto& [key, product] : products_) all.push_back(product);
    return all;
  }

 private:
  mutable std::map<std::string, Product> products_;  // by key
};

std::vector<Product> products_in(const CompiledProgram& program, bool tf32) {
  const AskedProducts asked;
  const ProductsToldBy note_them(&asked, tf32);
  for (const NamedGraph& g : program.graphs)
    for (int n = 0; n < g.graph.node_count(); ++n)
      if (const Node& node = g.graph.node(n); node.card->cuda_prepare) node.card->cuda_prepare(types_of(g.graph, node));
  return asked.list();
}

}  // namespace

TuningWork work_for_tuning(const RunConfig& config) {
  TuningWork work{.device = open_device(RunConfig::Device_Name(config.device())).device};
  REQUIRE(
      work.device->kernels() == Kernels::kCuda,
      "bench ops --tune: the algorithms are those of a GPU's library, and this run computes on the CPU\nrun it on a "
      "machine with a GPU, with device=cuda");
  const Target target = target_of(*work.device, 1);
  const RunConfig alone = on_one_rank(config);
  const RunSetup setup = make_setup(alone);
  work.products = products_in(compile_run(setup, all_graphs(alone, target), target), setup.precision.tf32);
  RunState here;
  set_device_kind(here, *work.device);
  work.device_name = products_device(here);
  return work;
}

ProductTable with(ProductTable table, const std::string& device_name, const std::vector<TunedProduct>& products) {
  for (const TunedProduct& p : products) {
    table.erase({device_name, p.key});
    if (p.algorithm) table[{device_name, p.key}] = {*p.algorithm, p.about, p.first_us, p.best_us};
  }
  return table;
}

Json to_json(const std::vector<TunedProduct>& products) {
  Json rows = Json::array();
  for (const TunedProduct& p : products)
    rows.push_back({{"product", p.key},
                    {"tried", p.tried},
                    {"unrepeatable", p.unrepeatable},
                    {"first_us", p.first_us},
                    {"best_us", p.algorithm ? Json(p.best_us) : Json(nullptr)},
                    {"about", p.about}});
  return rows;
}

}  // namespace shardit
