// The rules that a config must obey, beyond each key's type.
#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"
#include "launcher/config.h"
#include "launcher/config_keys.h"
#include "launcher/nearest.h"

namespace shardit {
namespace {

using std::to_string;

struct Bound {
  const char* words;
  bool (*holds)(double);
  std::vector<const char*> keys;
};

// A key that is not listed may be any finite number.
const std::vector<Bound>& bounds() {
  static const std::vector<Bound> table = {
      {"positive",
       [](double x) { return x > 0; },
       {"steps",
        "global_batch_size",
        "micro_batch_size",
        "model.input_size",
        "model.in_channels",
        "model.patch_size",
        "model.hidden_size",
        "model.depth",
        "model.num_heads",
        "model.mlp_ratio",
        "model.num_classes",
        "diffusion.timesteps",
        "diffusion.p_std",
        "diffusion.sigma_data",
        "diffusion.sigma_min",
        "diffusion.sigma_max",
        "diffusion.rho",
        "data.threads",
        "data.prefetch",
        "data.images",
        "optimizer.lr",
        "optimizer.eps",
        "parallel.replicate_group",
        "parallel.fold_group",
        "parallel.prefetch_bytes",
        "sample.num",
        "sample.steps",
        "sample.scale_pow",
        "sample.batch",
        "validation.images",
        "validation.bins"}},
      {"zero or positive",
       [](double x) { return x >= 0; },
       {"optimizer.weight_decay", "optimizer.warmup_images", "optimizer.grad_clip", "parallel.memory_budget_bytes",
        "parallel.watchdog_s", "checkpoint.every_steps", "checkpoint.keep_last", "checkpoint.keep_every_steps",
        "sample.every_steps", "sample.cfg", "sample.cfg_channels", "validation.every_steps", "tensorboard.every_steps",
        "tensorboard.histogram_every_steps"}},
      {"at least 0 and below 1",
       [](double x) { return x >= 0 && x < 1; },
       {"optimizer.beta1", "optimizer.beta2", "model.label_dropout"}},
      {"above 0 and below 1", [](double x) { return x > 0 && x < 1; }, {"diffusion.beta_start", "diffusion.beta_end"}},
      {"0, 1, 2 or 3", [](double x) { return x >= 0 && x <= 3; }, {"parallel.zero_stage"}},
      {"finite", [](double) { return true; }, {"diffusion.p_mean"}},
      // Sizes beyond these are typing mistakes, and their products would not fit 64 bits.
      {"at most 2147483648",
       [](double x) { return x <= 0x1p31; },
       {"steps", "global_batch_size", "data.images", "sample.num", "validation.images"}},
      {"at most 1048575",  // sampler steps: the noise of an image has 2^20 numbers
       [](double x) { return x < 0x1p20; },
       {"micro_batch_size", "model.input_size", "model.in_channels", "model.patch_size", "model.hidden_size",
        "model.num_heads", "model.num_classes", "diffusion.timesteps", "data.prefetch", "checkpoint.keep_last",
        "sample.steps", "sample.batch", "validation.bins"}},
      {"at most 4096", [](double x) { return x <= 4096; }, {"model.depth", "model.mlp_ratio"}},
      {"at most 256", [](double x) { return x <= 256; }, {"data.threads"}},
  };
  return table;
}

std::string text_of(double x) {
  char text[32];
  snprintf(text, sizeof text, "%.10g", x);
  return text;
}

void check_bounds(const RunConfig& config) {
  for (const Bound& bound : bounds())
    for (const char* key : bound.keys) {
      const double x = number_at(config, key);
      REQUIRE(std::isfinite(x) && bound.holds(x), std::string(key) + "=" + text_of(x) + " must be " + bound.words);
    }
}

// "the nearest divisors of 256 are 16 and 32"
std::string nearest_divisors(int64_t number, int64_t near) {
  int64_t below = 1, above = number;
  for (int64_t root = 1; root * root <= number; ++root) {
    if (number % root != 0) continue;
    for (int64_t divisor : {root, number / root}) {
      if (divisor <= near) below = std::max(below, divisor);
      if (divisor > near) above = std::min(above, divisor);
    }
  }
  const std::string both = near > number ? to_string(number) : to_string(below) + " and " + to_string(above);
  return "the nearest divisors of " + to_string(number) + " are " + both;
}

void check_batch(const RunConfig& config) {
  const int64_t global = config.global_batch_size(), micro = config.micro_batch_size();
  REQUIRE(global % micro == 0, "micro_batch_size=" + to_string(micro) + " does not divide global_batch_size=" +
                                   to_string(global) + ": " + nearest_divisors(global, micro));
}

void require_multiple(const char* name, int64_t value, const std::string& of, int64_t step) {
  const int64_t below = value / step * step, above = below + step;
  REQUIRE(value % step == 0, std::string(name) + "=" + to_string(value) + " is not a multiple of " + of + ": try " +
                                 (below > 0 ? to_string(below) + " or " : "") + to_string(above));
}

// Sums of sizes must fit 64 bits, whatever the depth.
void check_tensor_sizes(const RunConfig& config) {
  const RunConfig::Model& m = config.model();
  const auto real = [](int64_t x) { return static_cast<double>(x); };
  const double side = real(m.input_size()), features = real(m.hidden_size()),
               wide = std::max(1.0, m.mlp_ratio()) * features;
  const double tokens = side * side / (real(m.patch_size()) * real(m.patch_size()));
  const double batch = real(std::max(config.micro_batch_size(), config.sample().batch()));
  const double largest =
      std::max({4 * features * wide, real(m.num_classes()) * features, batch * side * side * real(m.in_channels()) * 2,
                4 * batch * tokens * wide, (batch * real(m.num_heads()) + 1) * tokens * tokens});
  REQUIRE(largest <= 0x1p38, "model: its largest tensor would have " + text_of(largest) +
                                 " elements, more than 2^38: lower model.input_size, model.hidden_size, " +
                                 "micro_batch_size or sample.batch");
}

void check_model(const RunConfig& config) {
  const RunConfig::Model& model = config.model();
  require_multiple("model.input_size", model.input_size(), "model.patch_size=" + to_string(model.patch_size()),
                   model.patch_size());
  require_multiple("model.hidden_size", model.hidden_size(), "model.num_heads=" + to_string(model.num_heads()),
                   model.num_heads());
  require_multiple("model.hidden_size", model.hidden_size(), "4, which the position table needs", 4);
  const double mlp = model.mlp_ratio() * static_cast<double>(model.hidden_size());
  REQUIRE(mlp == std::floor(mlp), "model.mlp_ratio=" + text_of(model.mlp_ratio()) + " times model.hidden_size=" +
                                      to_string(model.hidden_size()) + " is not a whole number of features");
  const bool edm = config.diffusion().process() == RunConfig::Diffusion::edm;
  REQUIRE(!edm || !model.learn_sigma(),
          "model.learn_sigma=true needs the ddpm process: edm has no variance to learn; "
          "set model.learn_sigma=false");
}

void check_diffusion(const RunConfig& config) {
  const RunConfig::Diffusion& d = config.diffusion();
  REQUIRE(d.beta_start() <= d.beta_end(),
          "diffusion.beta_start=" + text_of(d.beta_start()) + " is above diffusion.beta_end=" + text_of(d.beta_end()));
  REQUIRE(d.sigma_min() < d.sigma_max(), "diffusion.sigma_min=" + text_of(d.sigma_min()) +
                                             " must be below diffusion.sigma_max=" + text_of(d.sigma_max()));
}

void check_data(const RunConfig& config) {
  using Data = RunConfig::Data;
  const Data& data = config.data();
  REQUIRE(data.kind() != Data::idx || !data.path().empty(),
          "data.path is missing: data.kind idx needs the folder that holds the files");
  REQUIRE(data.kind() != Data::image_files || !data.path().empty(),
          "data.path is missing: data.kind image_files needs a folder or a tar");
  const bool listed = data.class_from() == Data::list;
  REQUIRE(!listed || data.has_class_list(), "data.class_list is missing: data.class_from list needs it");
  REQUIRE(!listed || data.has_validation_class_list() || config.validation().every_steps() == 0,
          "data.validation_class_list is missing: with data.class_from list, validation needs it");
}

void check_ema_name(const std::string& name, const std::string& key) {
  REQUIRE(!name.empty(), key + ".name is missing");
  REQUIRE(name != "none" && name != "params",
          key + ".name=\"" + name + "\" has a meaning of its own (the trained " + "weights): choose another");
  const bool legal =
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
  REQUIRE(legal, key + ".name=\"" + name + "\" may hold letters, digits, '.', '_' and '-' only");
}

void check_ema(const RunConfig& config) {
  std::set<std::string> names;
  for (int i = 0; i < config.ema_size(); ++i) {
    const RunConfig::Ema& ema = config.ema(i);
    const std::string key = "ema[" + to_string(i) + "]";
    check_ema_name(ema.name(), key);
    REQUIRE(names.insert(ema.name()).second, key + ".name=\"" + ema.name() + "\" is taken by an earlier ema");
    REQUIRE(ema.has_half_life_images() != ema.has_decay(), key + " (" + ema.name() + ") needs exactly one of " +
                                                               "half_life_images and decay, and has " +
                                                               (ema.has_decay() ? "both" : "neither"));
    REQUIRE(!ema.has_decay() || (ema.decay() > 0 && ema.decay() < 1),
            key + ".decay=" + text_of(ema.decay()) + " must be above 0 and below 1");
    REQUIRE(!ema.has_half_life_images() || (ema.half_life_images() > 0 && std::isfinite(ema.half_life_images())),
            key + ".half_life_images=" + text_of(ema.half_life_images()) + " must be positive");
  }
  const std::string& wanted = config.sample().ema();
  REQUIRE(wanted == "none" || names.count(wanted),
          "sample.ema=\"" + wanted + "\" is no ema of this config: it has " +
              (names.empty() ? "only \"none\"" : join_words({names.begin(), names.end()}, "and") + ", and \"none\""));
}

void check_sampler(const RunConfig& config) {
  using Sample = RunConfig::Sample;
  const Sample& sample = config.sample();
  const bool edm = config.diffusion().process() == RunConfig::Diffusion::edm;
  const bool fits = sample.sampler() == Sample::dpmpp || (sample.sampler() == Sample::heun) == edm;
  REQUIRE(fits, "sample.sampler=" + Sample::Sampler_Name(sample.sampler()) + " does not fit the " +
                    (edm ? "edm process: it takes heun or dpmpp" : "ddpm process: it takes ddpm, ddim or dpmpp"));
  REQUIRE(edm || sample.steps() <= config.diffusion().timesteps(),
          "sample.steps=" + to_string(sample.steps()) +
              " is above diffusion.timesteps=" + to_string(config.diffusion().timesteps()));
}

void check_guidance(const RunConfig& config) {
  const RunConfig::Sample& sample = config.sample();
  REQUIRE(sample.cfg_schedule() == "constant" || sample.cfg_schedule() == "power-cosine",
          "sample.cfg_schedule: expected \"constant\" or \"power-cosine\", got \"" + sample.cfg_schedule() + "\"");
  REQUIRE(sample.cfg_channels() <= config.model().in_channels(),
          "sample.cfg_channels=" + to_string(sample.cfg_channels()) +
              " is above model.in_channels=" + to_string(config.model().in_channels()));
  REQUIRE(sample.cfg() == 1 || config.model().label_dropout() > 0,
          "sample.cfg=" + text_of(sample.cfg()) + " needs a model trained without labels now and then: set " +
              "model.label_dropout=0.1, or sample.cfg=1");
}

void check_precision(const RunConfig& config) {
  using Precision = RunConfig::Precision;
  for (const auto& [key, type] :
       {std::pair{"reduce", config.precision().reduce()}, std::pair{"residual", config.precision().residual()}})
    REQUIRE(type != Precision::tf32,
            std::string("precision.") + key +
                "=tf32: tf32 is a way to multiply, not a type to store: expected fp32 or bf16");
}

}  // namespace

void check_config(const RunConfig& config) {
  check_bounds(config);
  check_batch(config);
  check_model(config);
  check_tensor_sizes(config);
  check_diffusion(config);
  check_data(config);
  check_ema(config);
  check_sampler(config);
  check_guidance(config);
  check_precision(config);
}

}  // namespace shardit
