// Which algorithms a run's matrix products use on a GPU: those of a table, the same on all ranks. It is the one that
// the config names, as rank 0 reads it; else that of the checkpoint from which the run goes on. What it does not have,
// the library chooses.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "checkpoints/manifest.h"
#include "core/device.h"
#include "launcher/ranks.h"
#include "launcher/run_config.pb.h"
#include "ops/product_choices.h"

namespace shardit {

struct RunProducts {
  std::string text;                               // of the whole table, for checkpoints; empty: there is none
  std::string device;                             // as products_device has it
  std::string note;                               // for the log: what of the table is used; empty: there is none
  std::shared_ptr<const ProductChoices> choices;  // for ProductsToldBy; null: the library chooses all

  // Whether products on the device of that checkpoint, this one, are to use other algorithms than it did.
  bool differ_from(const RunState& saved) const;
};

// The GPU of a run and the library of its products, with their versions, as tables name them; empty for the CPU.
std::string products_device(const RunState& run);

// `name` is the table's, in errors; `here` is where the run computes now. Throws UserError where the table is damaged.
RunProducts products_of(const std::string& text, const std::string& name, const RunState& here);

// Collective. `stored` gives rank 0 the table of the checkpoint from which the run goes on, or nothing.
RunProducts open_products(
    const RunConfig& config, Ranks& ranks, const Device& device,
    const std::function<std::string()>& stored = [] { return ""; });

}  // namespace shardit
