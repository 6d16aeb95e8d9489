#include "launcher/config.h"

#include <google/protobuf/text_format.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "launcher/config_keys.h"
#include "launcher/config_text.h"

namespace shardit {
namespace {

std::string read_text(const std::string& path) {
  REQUIRE(std::filesystem::exists(path), "config '" + path + "' does not exist: give the path of a .textproto file");
  REQUIRE(!std::filesystem::is_directory(path),
          "config '" + path + "' is a folder: give the path of a .textproto file");
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw IoError("config '" + path + "' cannot be read");
  return text.str();
}

// Defaults that depend on other keys; the others stand in run_config.proto.
void fill_derived_defaults(RunConfig& config) {
  const bool edm = config.diffusion().process() == RunConfig::Diffusion::edm;
  if (edm && !config.model().has_learn_sigma()) config.mutable_model()->set_learn_sigma(false);
  RunConfig::Sample& sample = *config.mutable_sample();
  if (edm && !sample.has_sampler()) sample.set_sampler(RunConfig::Sample::heun);
  if (!sample.has_cfg() && config.model().label_dropout() == 0) sample.set_cfg(1);
  if (!sample.has_ema()) sample.set_ema(config.ema_size() > 0 ? config.ema(0).name() : "none");
}

}  // namespace

RunConfig load_config(const std::string& path, const std::vector<std::string>& sets) {
  return parse_config(read_text(path), path, sets);
}

RunConfig parse_config(const std::string& text, const std::string& name, const std::vector<std::string>& sets) {
  RunConfig config;
  parse_text(text, name, config);
  for (const std::string& set : sets) apply_set(set, config);
  refuse_keys_without_meaning(config);
  fill_derived_defaults(config);
  fill_defaults(config);
  check_config(config);
  return config;
}

std::string resolved_text(const RunConfig& config) {
  std::string text;
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseUtf8StringEscaping(true);
  printer.PrintToString(config, &text);
  return text;
}

}  // namespace shardit
