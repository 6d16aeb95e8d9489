#include "launcher/run_data.h"

#include "core/error.h"
#include "data/idx.h"
#include "data/synthetic.h"

namespace shardit {
namespace {

std::string size_text(int64_t height, int64_t width, int64_t channels) {
  return std::to_string(height) + "x" + std::to_string(width) + "x" + std::to_string(channels);
}

void check_fit(const Dataset& data, const RunConfig::Model& model) {
  const int64_t side = model.input_size();
  REQUIRE(data.height() == side && data.width() == side && data.channels() == model.in_channels(),
          "data: " + data.name() + " has images of " + size_text(data.height(), data.width(), data.channels()) +
              ", the model takes " + size_text(side, side, model.in_channels()) +
              ": set model.input_size and model.in_channels");
  REQUIRE(data.classes() <= model.num_classes(), "data: " + data.name() + " has " + std::to_string(data.classes()) +
                                                     " classes, model.num_classes is " +
                                                     std::to_string(model.num_classes()));
}

}  // namespace

std::unique_ptr<Dataset> open_dataset(const RunConfig& config, Split split) {
  const auto& d = config.data();
  const auto& m = config.model();
  std::unique_ptr<Dataset> data;
  if (d.kind() == RunConfig::Data::synthetic) {
    const uint64_t seed = config.seed() + (split == Split::kValidation ? 1 : 0);
    data = std::make_unique<SyntheticDataset>(SyntheticOptions{.size = d.images(),
                                                               .classes = m.num_classes(),
                                                               .height = m.input_size(),
                                                               .width = m.input_size(),
                                                               .channels = m.in_channels(),
                                                               .seed = seed});
  } else {
    data = open_idx(d.path().empty() ? kFashionMnistDirectory : d.path(),
                    split == Split::kTrain ? d.split() : d.validation_split(), m.num_classes());
  }
  check_fit(*data, m);
  return data;
}

}  // namespace shardit
