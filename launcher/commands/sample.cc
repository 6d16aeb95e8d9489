// `shardit sample CHECKPOINT --out grid.png`.
#include <filesystem>
#include <iostream>

#include "checkpoints/directory.h"
#include "checkpoints/load.h"
#include "checkpoints/release.h"
#include "core/error.h"
#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/format.h"
#include "launcher/hang.h"
#include "launcher/job.h"
#include "launcher/output_file.h"
#include "launcher/progress.h"
#include "launcher/run_data.h"
#include "launcher/run_device.h"
#include "launcher/run_program.h"
#include "launcher/sample_output.h"
#include "launcher/sampling.h"
#include "launcher/signals.h"
#include "launcher/state.h"
#include "launcher/threads.h"
#include "ops/product_choices.h"

namespace shardit {
namespace {

struct Flags {
  std::string checkpoint, out, npz, classes = "all", sampler, cfg_schedule, ema, device = "auto", decoder, config;
  std::optional<int64_t> num, steps, batch, cfg_channels, seed;
  std::optional<double> cfg, scale_pow;
};

// The run's config with the flags on top, as one more round of overrides, so that one set of checks serves both.
std::vector<std::string> overrides(const Flags& f) {
  std::vector<std::string> sets;
  const auto add = [&](const std::string& key, const std::string& value) {
    sets.push_back("sample." + key + "=" + value);
  };
  const auto text = [](double x) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.17g", x);
    return std::string(buffer);
  };
  if (f.num) add("num", std::to_string(*f.num));
  if (!f.sampler.empty()) add("sampler", f.sampler);
  if (f.steps) add("steps", std::to_string(*f.steps));
  if (f.batch) add("batch", std::to_string(*f.batch));
  if (f.cfg) add("cfg", text(*f.cfg));
  if (!f.cfg_schedule.empty()) add("cfg_schedule", f.cfg_schedule);
  if (f.cfg_channels) add("cfg_channels", std::to_string(*f.cfg_channels));
  if (f.scale_pow) add("scale_pow", text(*f.scale_pow));
  if (!f.ema.empty()) add("ema", f.ema);
  if (f.seed) add("seed", std::to_string(*f.seed));
  return sets;
}

// A checkpoint is a folder.
bool is_weights_file(const std::string& path) {
  return std::filesystem::is_regular_file(path) || std::filesystem::path(path).extension() == ".safetensors";
}

RunConfig config_of(const Flags& f, const std::optional<Checkpoint>& checkpoint) {
  if (!checkpoint) return load_config(f.config, overrides(f));
  REQUIRE(f.config.empty(), "--config goes with a safetensors file; a checkpoint holds its own config");
  return parse_config(checkpoint->manifest.run.config_text, checkpoint->path, overrides(f));
}

// The tensors that the sampler reads: one kind of the checkpoint's.
void load_weights(PosixFiles& files, const Flags& f, const std::optional<Checkpoint>& checkpoint, Program& program,
                  const RunSetup& setup, const std::string& source) {
  const std::string kind = source == "master" || source == "param" ? "params" : source;
  const std::string buffers = kind == "params" ? "master" : source;
  if (checkpoint) {
    load_checkpoint(files, *checkpoint, tensors_of(program, setup, {kind, buffers}), Extra::kIgnore);
  } else {
    const ReleasedValues released(setup.model);
    import_weights(files, f.checkpoint, tensors_of(program, setup, {"params", buffers}), released.constants);
  }
  push_state(program, setup, {kind, buffers});
  if (source == "param") program.run("refresh");
}

std::vector<int64_t> parse_classes(const std::string& text, int64_t classes) {
  std::vector<int64_t> result;
  if (text == "all") {
    for (int64_t c = 0; c < classes; ++c) result.push_back(c);
    return result;
  }
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) {
    const bool digits = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
    REQUIRE(digits && std::stoll(part) < classes, "--classes: got '" + part + "', expected all, or numbers from 0 to " +
                                                      std::to_string(classes - 1) + " separated by commas");
    result.push_back(std::stoll(part));
  }
  REQUIRE(!result.empty(), "--classes: expected all, or numbers separated by commas");
  return result;
}

// What the grid calls the classes. Samples are drawn where the training data is not: then by their numbers.
std::vector<std::string> names_of(const std::vector<int64_t>& classes, const RunConfig& config,
                                  const std::optional<Checkpoint>& checkpoint) {
  std::vector<std::string> all, names;
  try {
    all = training_class_names(config, checkpoint ? checkpoint->manifest.run.data_fingerprint : "");
  } catch (const Error& error) {
    const std::string why = error.what();
    std::cout << "classes are called by their numbers: " << why.substr(0, why.find('\n')) << std::endl;
  }
  for (const int64_t label : classes)
    names.push_back(label < std::ssize(all) ? all[static_cast<size_t>(label)] : std::to_string(label));
  return names;
}

// All that is settled before the first image is drawn. Every rank holds all weights; they share the batches.
struct Job {
  Job(const Flags& f, Device& device, int threads);

  PosixFiles files;
  std::optional<Checkpoint> checkpoint;  // nothing where the weights are a safetensors file
  RunConfig config;
  RunSetup setup;
  SamplingPlan plan;
  SamplingSetup sampling;
  std::vector<int64_t> classes, labels;
  Pool pool;
  std::optional<Program> program;
};

void check_flags(const Flags& f) {
  REQUIRE(f.decoder.empty(), "--decoder: this build has no autoencoder; it samples models that work on pixels");
  REQUIRE(!f.out.empty() || !f.npz.empty(), "nothing to write: expected --out grid.png, --npz samples.npz, or both");
  for (const std::string& path : {f.out, f.npz})
    if (!path.empty()) check_output_file(path);
}

Job::Job(const Flags& f, Device& device, int threads) : pool(threads) {
  if (is_weights_file(f.checkpoint))
    REQUIRE(!f.config.empty(), "sampling from a safetensors file needs --config, the run config of the model");
  else
    checkpoint = open_checkpoint(files, f.checkpoint);
  config = config_of(f, checkpoint);
  setup = make_setup(config);
  const int64_t channels = setup.model.in_channels;
  REQUIRE(f.out.empty() || channels == 1 || channels == 3,
          "--out: the model draws " + std::to_string(channels) + " channels, a PNG has 1 or 3; use --npz");
  plan = make_sampling_plan(config);
  sampling = make_sampling_setup(config, setup, plan);
  classes = parse_classes(f.classes, setup.model.num_classes);
  for (int64_t i = 0; i < config.sample().num(); ++i)
    labels.push_back(classes[static_cast<size_t>(i) % classes.size()]);
  const ProductsToldBy way(nullptr, setup.precision.tf32);
  program.emplace(
      compile_run(setup, {.training = false, .sampling = sampling, .sampling_plan = plan}, target_of(device, threads)),
      device, pool);
  program->run("constants");
  load_weights(files, f, checkpoint, *program, setup, sampling.weights);
}

int run(const Flags& f, World& world) {
  Ranks ranks(world);
  catch_stop_signals(ranks.first());
  ranks.together("flags", [&] { check_flags(f); });
  const RunDevice on = open_device(f.device, ranks);
  std::optional<Job> prepared;
  const int threads = compute_threads(ranks);
  ranks.together("set-up", [&] { prepared.emplace(f, *on.device, threads); });
  Job& job = *prepared;
  const auto watchdog = end_hangs(world, job.config.parallel().watchdog_s());
  if (ranks.first()) {
    for (const std::string& note : on.notes) std::cout << note << std::endl;
    std::cout << (job.checkpoint ? job.checkpoint->path : f.checkpoint) << ", " << job.sampling.weights << " | "
              << job.config.sample().num() << " images in " << job.config.sample().steps() << " steps | "
              << ranks.size() << (ranks.size() == 1 ? " rank, " : " ranks, ") << format_threads(threads) << " each"
              << std::endl;
  }
  std::vector<std::string> names;
  if (ranks.first() && !f.out.empty()) names = names_of(job.classes, job.config, job.checkpoint);
  std::optional<ProgressBar> bar;
  if (ranks.first()) bar.emplace(Screen::standard_output(), "sampling", job.config.sample().num(), "images");
  std::optional<ClassGrid> grid;
  std::optional<SampleFile> file;
  ranks.on_first("open", [&] {
    if (!f.out.empty()) grid.emplace(job.classes, job.labels);
    if (!f.npz.empty()) file.emplace(f.npz, job.setup.model, job.labels);
  });
  const auto progress = [&](int64_t done, int64_t total) {
    if (bar) bar->update(done * job.config.sample().num() / total);
    return !stop_requested();
  };
  const auto take = [&](const SampledImages& images) {
    ranks.on_first("write", [&] {
      if (grid) grid->take(images);
      if (file) file->take(images);
    });
  };
  if (!draw_images(*job.program, job.setup, job.sampling, job.plan, job.labels, 0, ranks, progress, take)) {
    if (bar) bar->print_line("stopped by a signal: nothing was written");
    return 0;
  }
  ranks.on_first("write", [&] {
    if (grid) grid->write(f.out, names);
    if (file) file->close();
  });
  return 0;
}

}  // namespace

void add_sample_command(CLI::App& app, Handler& chosen) {
  CLI::App* c = add_subcommand(app, "sample", "Draws images from a checkpoint",
                               "shardit sample runs/demo --out grid.png --npz samples.npz --num 1000 --cfg 2.5");
  auto f = std::make_shared<Flags>();
  c->add_option("CHECKPOINT", f->checkpoint,
                "A step directory, a run directory (its newest valid checkpoint), or a safetensors file with --config")
      ->required();
  c->add_option("--out", f->out, "PNG grid: a labelled row per class");
  c->add_option("--npz", f->npz, "npz with arr_0 (uint8 NHWC) and arr_1 (labels), as the ADM evaluator reads");
  c->add_option("--num", f->num, "Images; default: the config's sample.num")->check(CLI::PositiveNumber);
  c->add_option("--classes", f->classes, "all, or class numbers separated by commas; images take them in turn")
      ->capture_default_str();
  c->add_option("--sampler", f->sampler, "ddpm, ddim, heun or dpmpp; default: the config's");
  c->add_option("--steps", f->steps, "Sampler steps; default: the config's")->check(CLI::PositiveNumber);
  c->add_option("--batch", f->batch, "Images per batch; the bytes depend on it; default: the config's")
      ->check(CLI::PositiveNumber);
  c->add_option("--cfg", f->cfg, "Guidance scale, 1: none; default: the config's");
  c->add_option("--cfg-schedule", f->cfg_schedule, "constant or power-cosine; default: the config's");
  c->add_option("--cfg-channels", f->cfg_channels, "Guided channels, from the first; default: the config's")
      ->check(CLI::PositiveNumber);
  c->add_option("--scale-pow", f->scale_pow, "Exponent of power-cosine; default: the config's");
  c->add_option("--ema", f->ema,
                "EMA profile to sample from, or none for the training weights; default: the first profile");
  c->add_option("--seed", f->seed, "Seed of all sampling noise; default: the config's");
  c->add_option("--device", f->device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  c->add_option("--decoder", f->decoder, "Autoencoder weights for latent models");
  c->add_option("--config", f->config, "Run config, for a safetensors file");
  c->callback([f, &chosen] { chosen = [f] { return run_job([f](World& world) { return run(*f, world); }); }; });
}

}  // namespace shardit
