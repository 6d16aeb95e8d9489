#include "launcher/run_products.h"

#include <utility>

#include "launcher/product_table.h"
#include "launcher/resume_proof.h"

namespace shardit {
namespace {

class TableChoices : public ProductChoices {
 public:
  explicit TableChoices(std::map<std::string, LibraryAlgorithm> algorithms) : algorithms_(std::move(algorithms)) {}

  const LibraryAlgorithm* find(const Product& product, int64_t alignment) const override {
    const auto found = algorithms_.find(key_of(product, alignment));
    return found == algorithms_.end() ? nullptr : &found->second;
  }

 private:
  std::map<std::string, LibraryAlgorithm> algorithms_;
};

std::string note_of(size_t used, size_t all, const std::string& device) {
  return "product table: " + std::to_string(used) + " of " + std::to_string(all) + " algorithms are for " +
         (device.empty() ? "the CPU" : device) + (used == all ? "" : ", the others are not used");
}

}  // namespace

std::string products_device(const RunState& run) {
  const auto library = run.library_versions.find("cuBLASLt");
  return library == run.library_versions.end() ? "" : run.device_kind + ", cuBLASLt " + library->second;
}

bool RunProducts::differ_from(const RunState& saved) const {
  if (device.empty() || products_device(saved) != device) return false;
  const std::string path = "of the checkpoint of step " + std::to_string(saved.step);
  return algorithms_for(parse_product_table(saved.product_table, path), device) !=
         algorithms_for(parse_product_table(text, "of this run"), device);
}

RunProducts products_of(const std::string& text, const std::string& name, const RunState& here) {
  RunProducts products{.device = products_device(here)};
  const ProductTable table = parse_product_table(text, name);
  if (table.empty()) return products;
  products.text = text_of(table);
  auto algorithms = algorithms_for(table, products.device);
  products.note = note_of(algorithms.size(), table.size(), products.device);
  if (!algorithms.empty()) products.choices = std::make_shared<TableChoices>(std::move(algorithms));
  return products;
}

RunProducts open_products(const RunConfig& config, Ranks& ranks, const Device& device,
                          const std::function<std::string()>& stored) {
  const std::string& path = config.product_table();
  std::string text;
  ranks.on_first("product table", [&] { text = path.empty() ? stored() : text_of(read_product_table(path)); });
  text = ranks.from_first("product table", text);
  RunState here;
  set_device_kind(here, device);
  RunProducts products;
  ranks.together("product table",
                 [&] { products = products_of(text, path.empty() ? "of the checkpoint" : path, here); });
  return products;
}

}  // namespace shardit
