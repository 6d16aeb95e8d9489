#include "launcher/training_run.h"

#include <algorithm>
#include <utility>

#include "dist/echo.h"
#include "launcher/agreement.h"
#include "launcher/progress.h"
#include "launcher/run_data.h"
#include "launcher/run_device.h"
#include "launcher/run_setup.h"
#include "launcher/state.h"

namespace shardit {
namespace {

constexpr int kWarmup = 2;  // steps

}  // namespace

TrainingRun::TrainingRun(const RunConfig& config, World& world, TrainingRunOptions options)
    : config_(config),
      options_(std::move(options)),
      ranks_(world),
      setup_(join()),
      pool_(options_.threads) {
  if (options_.communicates) connect_devices(ranks_, setup_.sharding.mesh, *options_.device);
  std::optional<CompiledProgram> compiled;
  products_ = open_products(config_, ranks_, device());
  ranks_.together("set-up", [&] {
    data_ = open_training_data(config_);
    compiled = compile_run(setup_, options_.graphs, target_of(device(), options_.threads));
  });
  check_same_collectives(ranks_, *compiled);
  const ProductsToldBy table(products_.choices.get(), setup_.precision.tf32);
  ranks_.together("memory", [&] { program_.emplace(std::move(*compiled), *options_.device, pool_); });
  initialize_state(*program_, setup_);
  program_->run("constants");
  refresh_weights(*program_);
  runner_.emplace(*program_, setup_, config_, *data_, ranks_, 0);
  for (int i = 0; i < kWarmup; ++i) step();
}

RunSetup TrainingRun::join() {
  if (options_.communicates) return make_setup(config_, ranks_);
  const auto replicas = static_cast<int>(config_.parallel().replicate_group());
  RunSetup setup;
  ranks_.together("ranks",
                  [&] { setup = make_setup(config_, make_echo_mesh(ranks_.size(), ranks_.rank(), replicas)); });
  return setup;
}

StepTime TrainingRun::step() {
  const double begin = steady_seconds();
  const StepResult result = runner_->run(step_++);
  const std::vector<StepTime> all = ranks_.all("step", StepTime{(steady_seconds() - begin) * 1e3, result.exposed_ms});
  return *std::max_element(all.begin(), all.end(),
                           [](const StepTime& a, const StepTime& b) { return a.step_ms < b.step_ms; });
}

}  // namespace shardit
