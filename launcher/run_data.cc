#include "launcher/run_data.h"

#include <optional>
#include <utility>

#include "core/error.h"
#include "data/idx.h"
#include "data/image_dataset.h"
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

ClassFrom class_from(const RunConfig::Data& d) {
  return d.class_from() == RunConfig::Data::prefix ? ClassFrom::kPrefix
         : d.class_from() == RunConfig::Data::list ? ClassFrom::kList
                                                   : ClassFrom::kFolder;
}

// The split's folder and list; `known`: the classes of the training split, for another one.
std::unique_ptr<Dataset> open_images(const RunConfig& config, const std::string& split, const std::string& class_list,
                                     std::optional<ClassNames> known) {
  const auto& d = config.data();
  return ImageDataset::open({.path = d.path(),
                             .split = split,
                             .side = config.model().input_size(),
                             .classes = config.model().num_classes(),
                             .class_from = class_from(d),
                             .class_list = class_list,
                             .known = std::move(known)});
}

std::unique_ptr<Dataset> open_synthetic(const RunConfig& config, uint64_t seed) {
  const auto& m = config.model();
  return std::make_unique<SyntheticDataset>(SyntheticOptions{.size = config.data().images(),
                                                             .classes = m.num_classes(),
                                                             .height = m.input_size(),
                                                             .width = m.input_size(),
                                                             .channels = m.in_channels(),
                                                             .seed = seed});
}

std::unique_ptr<Dataset> open_idx_split(const RunConfig& config, const std::string& split) {
  const std::string& path = config.data().path();
  return open_idx(path.empty() ? kFashionMnistDirectory : path, split, config.model().num_classes());
}

std::unique_ptr<Dataset> checked(std::unique_ptr<Dataset> data, const RunConfig& config) {
  check_fit(*data, config.model());
  return data;
}

}  // namespace

std::unique_ptr<Dataset> open_training_data(const RunConfig& config) {
  const auto& d = config.data();
  switch (d.kind()) {
    case RunConfig::Data::synthetic:
      return checked(open_synthetic(config, config.seed()), config);
    case RunConfig::Data::image_files:
      return checked(open_images(config, d.split(), d.class_list(), std::nullopt), config);
    default:
      return checked(open_idx_split(config, d.split()), config);
  }
}

std::unique_ptr<Dataset> open_validation_data(const RunConfig& config, const Dataset& training) {
  const auto& d = config.data();
  switch (d.kind()) {
    case RunConfig::Data::synthetic:
      return checked(open_synthetic(config, config.seed() + 1), config);
    case RunConfig::Data::image_files:
      return checked(open_images(config, d.validation_split(), d.validation_class_list(),
                                 ClassNames{training.class_names(), training.classes()}),
                     config);
    default:
      return checked(open_idx_split(config, d.validation_split()), config);
  }
}

std::vector<std::string> training_class_names(const RunConfig& config, const std::string& fingerprint) {
  const auto& d = config.data();
  if (d.kind() == RunConfig::Data::synthetic) return {};
  if (d.kind() != RunConfig::Data::image_files) return open_idx_split(config, d.split())->class_names();
  const ClassNames classes = list_classes(d.path(), d.split(), class_from(d), d.class_list());
  REQUIRE(fingerprint.empty() || fingerprint.ends_with(fingerprint_of(classes)),
          "'" + d.path() + "' has other classes than those that were trained on");
  return classes.names;
}

OnCorrupt on_corrupt(const RunConfig& config) {
  return config.data().on_corrupt() == RunConfig::Data::skip ? OnCorrupt::kSkip : OnCorrupt::kFail;
}

}  // namespace shardit
