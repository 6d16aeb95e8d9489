// What a training run consists of before its first step: device, data and program, opened, compared between the ranks
// and held against the memory there is.
#pragma once

#include <memory>
#include <optional>

#include "core/gpu_gauge.h"
#include "core/pool.h"
#include "launcher/ranks.h"
#include "launcher/run_log.h"
#include "launcher/run_products.h"
#include "launcher/run_program.h"
#include "launcher/trainer.h"
#include "launcher/validation.h"

namespace shardit {

class Watchdog;

// Every rank has one; making it is collective. Throws on every rank what is wrong with the start of any.
// REQUIRES: config, options, ranks, log and files outlive it.
class RunParts {
 public:
  RunParts(const RunConfig& config, const TrainOptions& options, Ranks& ranks, RunLog& log, FileSystem& files);
  ~RunParts();
  RunParts(const RunParts&) = delete;
  RunParts& operator=(const RunParts&) = delete;

  Device& device() { return *device_; }
  const RunProducts& products() const { return products_; }
  const RunSetup& setup() const { return setup_; }
  const Dataset& data() const { return *data_; }
  int threads() const { return pool_->threads(); }
  GpuReading read_gauge() { return gauge_ ? gauge_->read() : GpuReading{}; }
  Program& program() { return *program_; }
  Validation* validation() { return validation_ ? &*validation_ : nullptr; }  // null where there is none
  const std::optional<SamplingSetup>& sampling() const { return compiled_for_.sampling; }
  const SamplingPlan& sampling_plan() const { return compiled_for_.sampling_plan; }

 private:
  RunSetup join();
  void open_devices();
  void open_data();
  CompiledProgram compile();

  const RunConfig& config_;
  const TrainOptions& options_;
  Ranks& ranks_;
  RunLog& log_;
  std::unique_ptr<Device> device_;  // outlives the communicators of the set-up's mesh, which use its streams
  int sharers_ = 1;                 // ranks on the device
  RunProducts products_;
  std::optional<GpuGauge> gauge_;
  RunSetup setup_;
  std::optional<Pool> pool_;
  std::unique_ptr<Watchdog> watchdog_;
  std::unique_ptr<Dataset> data_, validation_data_;
  RunProgramOptions compiled_for_;
  std::optional<Validation> validation_;
  std::optional<Program> program_;
};

}  // namespace shardit
