#include "launcher/run_parts.h"

#include <string>
#include <utility>

#include "core/error.h"
#include "launcher/agreement.h"
#include "launcher/hang.h"
#include "launcher/memory_check.h"
#include "launcher/resume.h"
#include "launcher/run_data.h"
#include "launcher/run_device.h"
#include "launcher/step_report.h"
#include "launcher/threads.h"

namespace shardit {

RunParts::RunParts(const RunConfig& config, const TrainOptions& options, Ranks& ranks, RunLog& log, FileSystem& files)
    : config_(config),
      options_(options),
      ranks_(ranks),
      log_(log),
      setup_(join()),
      watchdog_(end_hangs(ranks.world(), config.parallel().watchdog_s())) {
  open_devices();
  products_ = open_products(config_, ranks_, *device_, [&] { return stored_products(files, options_); });
  if (!products_.note.empty()) log_.say(products_.note);
  std::optional<CompiledProgram> compiled;
  ranks_.together("set-up", [&] {
    open_data();
    compiled = compile();
  });
  check_same_data(ranks_, "training", data_->fingerprint());
  if (validation_data_) check_same_data(ranks_, "validation", validation_data_->fingerprint());
  check_same_collectives(ranks_, *compiled);
  const ProductsToldBy table(products_.choices.get(), setup_.precision.tf32);
  ranks_.together("memory", [&] { program_.emplace(std::move(*compiled), *device_, *pool_); });
}

RunParts::~RunParts() = default;

RunSetup RunParts::join() {
  check_same_start(ranks_, config_, options_);
  return make_setup(config_, ranks_);
}

void RunParts::open_devices() {
  RunDevice opened = options_.open_device ? RunDevice{options_.open_device(), {}}
                                          : open_device(RunConfig::Device_Name(config_.device()), ranks_);
  device_ = std::move(opened.device);
  sharers_ = opened.sharers;
  log_.say(opened.notes);
  pool_.emplace(options_.threads > 0 ? options_.threads : compute_threads(ranks_));  // on the CPUs that are left now
  if (!opened.pci.empty()) gauge_ = open_gauge(opened.pci, log_);
  connect_devices(ranks_, setup_.sharding.mesh, *device_);
}

void RunParts::open_data() {
  data_ = open_training_data(config_);
  compiled_for_ = run_program_options(config_, setup_, target_of(*device_, pool_->threads()));
  if (!compiled_for_.validation_batch) return;
  validation_data_ = open_validation_data(config_, *data_);
  validation_.emplace(*validation_data_, setup_, config_.validation().images(), config_.validation().bins(),
                      *compiled_for_.validation_batch, on_corrupt(config_));
}

CompiledProgram RunParts::compile() {
  REQUIRE(!compiled_for_.sampling || setup_.model.in_channels == 1 || setup_.model.in_channels == 3,
          "sample.every_steps: pictures have 1 or 3 channels, model.in_channels is " +
              std::to_string(setup_.model.in_channels) + "; set sample.every_steps to 0");
  const Target target = target_of(*device_, pool_->threads());
  CompiledProgram compiled = compile_run(setup_, compiled_for_, target);
  check_memory(config_, compiled.memory,
               {.mesh = setup_.sharding.mesh,
                .local_ranks = ranks_.world().local_size(),
                .target = target,
                .device_free_bytes = device_->free_bytes() / sharers_});
  return compiled;
}

}  // namespace shardit
