// `shardit bench ops --tune`: for each product of a config's graphs the fastest algorithm of a GPU's library, as a part
// of the config's product table. On one rank, whose products are those of any number of ranks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "launcher/metrics.h"
#include "launcher/product_table.h"
#include "launcher/run_config.pb.h"
#include "ops/product_tuning.h"

namespace shardit {

struct TuningWork {
  std::unique_ptr<Device> device;
  std::string device_name;        // as tables have it
  std::vector<Product> products;  // all that are distinct, for tune_product
};

// Of a run's training, validation and sampling, whatever it has switched on. Throws UserError where it would compute on
// the CPU.
TuningWork work_for_tuning(const RunConfig& config);

// The table with these in it; what it has for the same device and product makes way.
ProductTable with(ProductTable table, const std::string& device_name, const std::vector<TunedProduct>& products);

Json to_json(const std::vector<TunedProduct>& products);

}  // namespace shardit
