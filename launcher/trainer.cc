#include "launcher/trainer.h"

#include <cmath>
#include <filesystem>
#include <iostream>

#include "checkpoints/directory.h"
#include "checkpoints/run_lock.h"
#include "core/error.h"
#include "data/grid.h"
#include "data/loader.h"
#include "data/png.h"
#include "launcher/config.h"
#include "launcher/format.h"
#include "launcher/machine.h"
#include "launcher/memory_check.h"
#include "launcher/metrics.h"
#include "launcher/nonfinite.h"
#include "launcher/progress.h"
#include "launcher/resume.h"
#include "launcher/run_data.h"
#include "launcher/run_folder.h"
#include "launcher/run_program.h"
#include "launcher/sampling.h"
#include "launcher/saver.h"
#include "launcher/signals.h"
#include "launcher/state.h"
#include "launcher/threads.h"
#include "launcher/validation.h"

namespace shardit {
namespace {

constexpr int kSlots = 2;  // of the double-buffered inputs

class Trainer {
 public:
  Trainer(const RunConfig& config, const TrainOptions& options, int threads)
      : config_(config),
        options_(options),
        setup_(make_setup(config)),
        folder_{options.run_dir},
        train_data_(open_dataset(config, Split::kTrain)),
        pool_(threads),
        device_(make_cpu_device()) {
    program_options_ = run_program_options(config, setup_);
    if (program_options_.validation_batch) {
      validation_data_ = open_dataset(config, Split::kValidation);
      validation_.emplace(*validation_data_, setup_, config.validation().images(), config.validation().bins(),
                          *program_options_.validation_batch);
    }
    REQUIRE(!program_options_.sampling || setup_.model.in_channels == 1 || setup_.model.in_channels == 3,
            "sample.every_steps: pictures have 1 or 3 channels, model.in_channels is " +
                std::to_string(setup_.model.in_channels) + "; set sample.every_steps to 0");
    CompiledProgram compiled = compile_run(setup_, program_options_, threads);
    check_memory(config, compiled.memory, threads);
    program_.emplace(std::move(compiled), *device_, pool_);
    saver_.emplace(files_, *program_, setup_, config_, options_.run_dir);
  }

  int run() {
    const int64_t last = options_.steps > 0 ? std::min(options_.steps, config_.steps()) : config_.steps();
    prepare_folder();
    RunLock lock(folder_.path);
    nonce_ = write_nonce(files_, folder_.path);
    for (const std::string& line : recover(files_, folder_.path)) std::cout << line << "\n";
    const std::optional<Resumed> resumed = load_state();
    if (step_ >= last) {
      std::cout << "the run is at step " << step_ << " of " << last << ": nothing to do\n";
      return 0;
    }
    start(resumed);
    StepLog log(Screen::standard_output(),
                {.steps = last, .first_step = step_, .planned_bytes = program_->memory().arena_bytes});
    log_ = &log;
    Loader loader(*train_data_, {.seed = config_.seed(),
                                 .micro_batch_size = config_.micro_batch_size(),
                                 .first_sample = step_ * config_.global_batch_size(),
                                 .threads = static_cast<int>(config_.data().threads()),
                                 .depth = static_cast<int>(config_.data().prefetch()),
                                 .flip = config_.data().flip()});
    const double begin = steady_seconds();
    bool stop = false;
    while (step_ < last && !stop) {
      train_step(loader);
      stop = stop_requested() || (options_.stop_after_s > 0 && steady_seconds() - begin >= options_.stop_after_s);
      after_step(last, stop);
    }
    if (stop && step_ < last)
      log.say("stopped at step " + std::to_string(step_) + " after saving; the same command continues");
    return 0;
  }

 private:
  void prepare_folder() {
    std::error_code failed;
    std::filesystem::create_directories(folder_.samples(), failed);
    if (failed)
      throw IoError("cannot create " + folder_.samples() + ": " + failed.message() +
                    "; choose another place with --run-dir");
  }

  // Fresh weights, or those of a checkpoint.
  std::optional<Resumed> load_state() {
    initialize_state(*program_, setup_);
    std::optional<Resumed> resumed =
        resume_run(files_, config_, options_, train_data_->fingerprint(), all_tensors(*program_, setup_));
    if (!resumed) return resumed;
    const Manifest& manifest = resumed->checkpoint.manifest;
    step_ = manifest.run.step;
    std::cout << "resumed from " << resumed->checkpoint.path << ", digest " << manifest.root.hex() << "\n";
    return resumed;
  }

  void start(const std::optional<Resumed>& resumed) {
    for (const std::string& line : set_aside_after(files_, folder_.path, step_)) std::cout << line << "\n";
    program_->run("constants");
    if (!setup_.travels_in_fp32()) program_->run("refresh");
    store_config();
    metrics_.emplace(folder_.metrics(), step_);
    Json plan = Json::array();
    for (const ClassBytes& row : class_bytes(program_->memory()))
      plan.push_back({{"class", row.name}, {"bytes", row.bytes}});
    metrics_->event("start", step_,
                    {{"ranks", 1},
                     {"device", device_->name()},
                     {"threads", pool_.threads()},
                     {"parameters", setup_.layout.parameters()},
                     {"config", resolved_text(config_)},
                     {"environment", machine_json(folder_.path)},
                     {"plan", plan},
                     {"planned_bytes", program_->memory().arena_bytes},
                     {"allocated_bytes", program_->allocated_bytes()}});
    if (resumed)
      metrics_->event("resume", step_,
                      {{"digest", resumed->checkpoint.manifest.root.hex()},
                       {"path", resumed->checkpoint.path},
                       {"warnings", resumed->warnings}});
    std::cout << "model: " << format_count(static_cast<double>(setup_.layout.parameters()))
              << " parameters | data: " << train_data_->name() << ", " << train_data_->size() << " images | "
              << pool_.threads() << " compute threads\nmemory: planned " << program_->memory().arena_bytes
              << " bytes, allocated " << program_->allocated_bytes() << " bytes (" << class_table(program_->memory())
              << ")\n";
  }

  // The resolved config, whole or not at all.
  void store_config() {
    const std::string partial = folder_.config() + ".partial";
    if (files_.kind(partial) == PathKind::kFile) files_.remove_file(partial);
    write_file(files_, partial, resolved_text(config_));
    files_.rename(partial, folder_.config());
  }

  // One update: K micro-batches, then clip, AdamW and EMA.
  void train_step(Loader& loader) {
    const double begin = steady_seconds(), waited = loader.waited_ms();
    double loss = 0;
    for (int64_t round = 0; round < setup_.rounds(); ++round) {
      const int slot = static_cast<int>(round % kSlots);
      loader.next(slot_of(slot));
      loss += micro_step(round, slot);
    }
    if (!std::isfinite(loss)) stop_for_nonfinite();
    const std::vector<double> numbers = step_numbers(config_, step_);
    program_->upload("step.numbers", numbers.data(), static_cast<int64_t>(numbers.size() * sizeof(double)));
    program_->run("update");
    double norm[3];
    program_->download("step.norm", norm, sizeof norm);
    if (norm[2] == 0) stop_for_nonfinite();
    ++step_;
    const double ms = (steady_seconds() - begin) * 1e3;
    last_ = {.step = step_,
             .images = step_ * setup_.global_batch,
             .loss = loss,
             .grad_norm = norm[0],
             .lr = numbers[0],
             .step_ms = ms,
             .images_per_s = static_cast<double>(setup_.global_batch) / ms * 1e3,
             .mem_bytes = program_->allocated_bytes(),
             .data_wait_ms = loader.waited_ms() - waited,
             .slowest_rank_ms = ms};
    metrics_->step(last_);
    log_->step(last_);
  }

  Slot slot_of(int slot) {
    return {.pixels = static_cast<uint8_t*>(program_->host_pointer("batch.pixels", slot)),
            .labels = static_cast<int64_t*>(program_->host_pointer("batch.labels", slot))};
  }

  double micro_step(int64_t round, int slot) {
    set_counters(round);
    program_->run("micro_step", slot);
    float loss;
    program_->download("step.loss", &loss, sizeof loss);
    return static_cast<double>(loss);
  }

  void set_counters(int64_t round) {
    const int64_t counters[2] = {step_ * setup_.global_batch, round};
    program_->upload("step.counters", counters, sizeof counters);
  }

  // Replays the step node by node to name the first non-finite value. The weights were not touched.
  [[noreturn]] void stop_for_nonfinite() {
    Loader again(*train_data_, {.seed = config_.seed(),
                                .micro_batch_size = config_.micro_batch_size(),
                                .first_sample = step_ * config_.global_batch_size(),
                                .threads = 1,
                                .flip = config_.data().flip()});
    std::string where = "no single node: the sum over micro-batches overflowed";
    for (int64_t round = 0; round < setup_.rounds(); ++round) {
      again.next(slot_of(0));
      set_counters(round);
      if (const auto found = first_nonfinite(*program_, "micro_step", 0)) {
        where = *found;
        break;
      }
    }
    metrics_->event("nonfinite", step_ + 1, {{"node", where}});
    throw StopError("step " + std::to_string(step_ + 1) +
                    ": the loss or the gradient is not finite; the first such value is at " + where +
                    "\nno weight was changed; the last checkpoint is unharmed. Likely fixes: a lower optimizer.lr, "
                    "optimizer.grad_clip, optimizer.warmup_images");
  }

  bool due(int64_t every, int64_t last) const { return every > 0 && (step_ % every == 0 || step_ == last); }

  void after_step(int64_t last, bool stop) {
    if (validation_ && due(config_.validation().every_steps(), last)) validate();
    if (program_options_.sampling && due(config_.sample().every_steps(), last)) sample();
    report_save(saver_->finished(false));
    if (!stop && step_ != last && !due(config_.checkpoint().every_steps(), last)) return;
    save();
    if (stop || step_ == last) report_save(saver_->finished(true));
  }

  void validate() {
    const ValidationResult result = validation_->run(*program_);
    metrics_->event("validation", step_, {{"loss", result.loss}, {"images", result.images}, {"bins", result.bins}});
    log_->say("step " + std::to_string(step_) + " | validation loss " + format_number(result.loss, 4));
  }

  // A grid of num images, the classes in turn along the columns.
  void sample() {
    const int64_t classes = std::min<int64_t>(setup_.model.num_classes, 10),
                  rows = std::max<int64_t>(1, config_.sample().num() / classes);
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < rows * classes; ++i) labels.push_back(i % classes);
    const SampledImages images =
        draw_images(*program_, setup_, *program_options_.sampling, program_options_.sampling_plan, labels, 0,
                    [](int64_t, int64_t) { return !stop_requested(); });
    if (images.count == 0) return;  // a signal: the next save is more urgent
    char name[32];
    std::snprintf(name, sizeof name, "step-%08lld.png", static_cast<long long>(step_));
    write_png(folder_.samples() + "/" + name, make_grid(images.pixels.data(), images.count, images.height, images.width,
                                                        images.channels, {.columns = classes}));
    metrics_->event("sample", step_, {{"path", std::string("samples/") + name}, {"images", images.count}});
  }

  void save() {
    RunState run{.step = step_,
                 .images = step_ * setup_.global_batch,
                 .seed = config_.seed(),
                 .next_sample = static_cast<uint64_t>(step_ * setup_.global_batch),
                 .config_text = resolved_text(config_),
                 .zero_stage = static_cast<int>(config_.parallel().zero_stage()),
                 .device_kind = device_kind(),
                 .run_nonce = nonce_,
                 .data_fingerprint = train_data_->fingerprint()};
    for (const auto& [library, version] : build_facts().libraries) run.library_versions[library] = version;
    report_save(saver_->finished(true));
    saver_->save(run);
  }

  void report_save(const std::optional<FinishedSave>& save) {
    if (!save) return;
    const SaveReport& report = save->report;
    for (const std::string& note : report.notes) log_->say(note);
    metrics_->event("save", save->step,
                    {{"path", report.path},
                     {"bytes", report.bytes},
                     {"stall_ms", save->stall_ms},
                     {"total_ms", save->total_ms},
                     {"digest", report.root.hex()}});
    log_->say("saved " + report.path + " (" + format_bytes(static_cast<double>(report.bytes)) + ", stalled " +
              format_ms(save->stall_ms) + ", took " + format_ms(save->total_ms) + "), digest " + report.root.hex());
  }

  std::string device_kind() const { return std::string(device_->name()) + " " + build_facts().instruction_set; }

  RunConfig config_;
  TrainOptions options_;
  RunSetup setup_;
  RunFolder folder_;
  std::unique_ptr<Dataset> train_data_, validation_data_;
  Pool pool_;
  std::unique_ptr<Device> device_;
  RunProgramOptions program_options_;
  std::optional<Validation> validation_;
  std::optional<Program> program_;
  PosixFiles files_;
  std::optional<MetricsWriter> metrics_;
  std::optional<Saver> saver_;
  StepLog* log_ = nullptr;
  std::string nonce_;
  int64_t step_ = 0;
  StepMetrics last_;
};

}  // namespace

int train(const RunConfig& config, const TrainOptions& options) {
  catch_stop_signals(true);
  return Trainer(config, options, compute_threads()).run();
}

}  // namespace shardit
