#include "launcher/trainer.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "checkpoints/directory.h"
#include "checkpoints/run_lock.h"
#include "core/error.h"
#include "launcher/config.h"
#include "launcher/data_corrupt.h"
#include "launcher/format.h"
#include "launcher/output_file.h"
#include "launcher/ranks.h"
#include "launcher/resume.h"
#include "launcher/resume_proof.h"
#include "launcher/run_device.h"
#include "launcher/run_folder.h"
#include "launcher/run_log.h"
#include "launcher/run_parts.h"
#include "launcher/run_program.h"
#include "launcher/run_start.h"
#include "launcher/sample_grid.h"
#include "launcher/saver.h"
#include "launcher/signals.h"
#include "launcher/state.h"
#include "launcher/step_report.h"
#include "launcher/step_runner.h"
#include "launcher/step_trace.h"
#include "launcher/validation.h"

namespace shardit {
namespace {

class Trainer {
 public:
  Trainer(const RunConfig& config, const TrainOptions& options, World& world)
      : config_(config),
        options_(options),
        ranks_(world),
        log_(ranks_.first()),
        parts_(config_, options_, ranks_, log_, files_),
        setup_(parts_.setup()),
        data_(parts_.data()),
        program_(parts_.program()),
        folder_{options.run_dir},
        saver_(world, files_, program_, setup_, config_, options_.run_dir),
        proof_(program_, setup_, config_, data_, ranks_, parts_.device(), parts_.products()) {}

  int run() {
    const int64_t last = options_.steps > 0 ? std::min(options_.steps, config_.steps()) : config_.steps();
    std::optional<RunLock> lock;
    ranks_.on_first("run directory", [&] {
      prepare_folder();
      lock.emplace(folder_.path);
      nonce_ = write_nonce(files_, folder_.path);
      log_.say(recover(files_, folder_.path));
    });
    nonce_ = ranks_.from_first("nonce", nonce_);
    ranks_.together("nonce", [&] { check_nonce(files_, folder_.path, nonce_); });
    const std::optional<Resumed> resumed = load_state();
    if (step_ >= last) {
      log_.say("the run is at step " + std::to_string(step_) + " of " + std::to_string(last) + ": nothing to do");
      return 0;
    }
    if (options_.trace_steps) prepare_trace(*options_.trace_steps, last);
    start(resumed, last);
    if (trace_) program_.trace(&trace_->trace());
    StepRunner runner(program_, setup_, config_, data_, ranks_, step_, trace_ ? &trace_->trace() : nullptr);
    const double begin = steady_seconds();
    bool stop = false;
    while (step_ < last && !stop) {
      stop = train_step(runner, begin);
      after_step(last, stop);
    }
    if (stop && step_ < last)
      log_.say("stopped at step " + std::to_string(step_) + " after saving; the same command continues");
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
    initialize_state(program_, setup_);
    std::optional<Resumed> resumed;
    ranks_.together("resume", [&] {
      const Readers readers{ranks_.control(), setup_.sharding.state_shards() > 1
                                                  ? setup_.sharding.mesh.shard.communicator.get()
                                                  : nullptr};
      resumed = resume_run(files_, readers, config_, options_, data_.fingerprint(), parts_.products(),
                           parts_held(program_, setup_));
    });
    if (!resumed) return resumed;
    push_state(program_, setup_);
    const Manifest& manifest = resumed->checkpoint.manifest;
    step_ = manifest.run.step;
    log_.say("resumed from " + resumed->checkpoint.path + ", digest " + manifest.root.hex());
    return resumed;
  }

  void start(const std::optional<Resumed>& resumed, int64_t last) {
    program_.run("constants");
    refresh_weights(program_);
    std::string proven;
    if (resumed) {
      proven = proof_.check(resumed->checkpoint.manifest.run, options_.resume_proof);
      log_.say("resume proof " + proven);
    }
    ranks_.on_first("start", [&] {
      log_.say(set_aside_after(files_, folder_.path, step_));
      replace_file(files_, folder_.config(), resolved_text(config_));
      log_.open_files(files_, folder_, config_.tensorboard(), step_);
    });
    tell_start(log_, step_,
               {.config = config_,
                .setup = setup_,
                .program = program_,
                .data = data_,
                .device = full_name(parts_.device()),
                .run_dir = folder_.path,
                .ranks = ranks_.size(),
                .threads = parts_.threads()});
    if (resumed)
      log_.event("resume", step_,
                 {{"digest", resumed->checkpoint.manifest.root.hex()},
                  {"path", resumed->checkpoint.path},
                  {"proof", proven},
                  {"warnings", resumed->warnings}});
    log_.begin_steps(
        {.steps = last, .first_step = step_, .ranks = ranks_.size(), .planned_bytes = program_.memory().arena_bytes});
  }

  // A restarted run has perhaps made them already.
  void prepare_trace(const StepRange& steps, int64_t last) {
    if (steps.first <= step_)
      log_.say("trace: step " + std::to_string(steps.first) + " was made before this start; nothing is traced");
    else
      ranks_.together("trace", [&] { trace_.emplace(steps, step_, last, ranks_); });
  }

  // Returns whether the run shall stop, which all ranks decide alike.
  bool train_step(StepRunner& runner, double begin_s) {
    if (trace_) trace_->before(step_ + 1);
    const double begin = steady_seconds();
    const StepResult result = runner.run(step_);
    if (!result.finite) stop_for_nonfinite(runner);
    ++step_;
    const double now = steady_seconds();
    const std::vector<StepReport> reports = ranks_.all(
        "step",
        StepReport{.step_ms = (now - begin) * 1e3,
                   .exposed_ms = result.exposed_ms,
                   .data_wait_ms = result.data_wait_ms,
                   .mem_bytes = program_.allocated_bytes(),
                   .gpu = parts_.read_gauge(),
                   .stop = stop_requested() || (options_.stop_after_s > 0 && now - begin_s >= options_.stop_after_s),
                   .saved = saver_.ready(),
                   .corrupt = !result.corrupt.empty()});
    log_.step(step_metrics(step_, setup_.global_batch, result, reports));
    if (std::any_of(reports.begin(), reports.end(), [](const StepReport& r) { return r.corrupt; }))
      tell_corrupt(log_, ranks_, step_, "train", result.corrupt);
    if (trace_)
      if (const auto path = trace_->after(step_, program_, files_, folder_.traces())) log_.say("trace: " + *path);
    if (std::all_of(reports.begin(), reports.end(), [](const StepReport& r) { return r.saved; })) finish_save();
    return std::any_of(reports.begin(), reports.end(), [](const StepReport& r) { return r.stop; });
  }

  [[noreturn]] void stop_for_nonfinite(StepRunner& runner) {
    const std::string where = runner.find_nonfinite(step_);
    log_.event("nonfinite", step_ + 1, {{"node", where}});
    ranks_.on_first("non-finite", [&] {
      throw StopError("step " + std::to_string(step_ + 1) +
                      ": the loss or the gradient is not finite; the first such value is at " + where +
                      "\nno weight was changed; the last checkpoint is unharmed. Likely fixes: a lower optimizer.lr, "
                      "optimizer.grad_clip, optimizer.warmup_images");
    });
    std::abort();  // on_first throws on every rank
  }

  bool due(int64_t every, int64_t last) const { return every > 0 && (step_ % every == 0 || step_ == last); }

  void after_step(int64_t last, bool stop) {
    if (parts_.validation() && due(config_.validation().every_steps(), last)) validate();
    if (parts_.sampling() && due(config_.sample().every_steps(), last)) sample();
    if (!stop && step_ != last && !due(config_.checkpoint().every_steps(), last)) return;
    save();
    if (stop || step_ == last) finish_save();
  }

  void validate() {
    const ValidationResult result = parts_.validation()->run(program_, ranks_);
    if (ranks_.any("corrupt images", !result.corrupt.empty()))
      tell_corrupt(log_, ranks_, step_, "validation", result.corrupt);
    log_.event("validation", step_, {{"loss", result.loss}, {"images", result.images}, {"bins", result.bins}});
    log_.say("step " + std::to_string(step_) + " | validation loss " + format_number(result.loss, 4));
  }

  void sample() {
    const std::string name = RunFolder::sample(step_);
    const int64_t images = write_sample_grid(folder_.path + "/" + name, config_.sample().num(), program_, setup_,
                                             *parts_.sampling(), parts_.sampling_plan(), ranks_);
    if (images > 0) log_.event("sample", step_, {{"path", name}, {"images", images}});
  }

  void save() {
    RunState run{.step = step_,
                 .images = step_ * setup_.global_batch,
                 .seed = config_.seed(),
                 .next_sample = static_cast<uint64_t>(step_ * setup_.global_batch),
                 .config_text = resolved_text(config_),
                 .ranks = ranks_.size(),
                 .zero_stage = static_cast<int>(config_.parallel().zero_stage()),
                 .run_nonce = nonce_,
                 .data_fingerprint = data_.fingerprint(),
                 .product_table = parts_.products().text};
    set_device_kind(run, parts_.device());
    finish_save();
    run.resume_loss_bits = proof_.loss_bits(step_);
    ranks_.together("save", [&] { saver_.save(run, proof_.last_ms()); });
    saving_ = true;
  }

  // Of the save that was started last; an error of one rank's is that of all.
  void finish_save() {
    if (!std::exchange(saving_, false)) return;
    ranks_.together("save", [&] {
      if (const std::optional<FinishedSave> save = saver_.finish()) log_.save(*save);
    });
  }

  RunConfig config_;
  TrainOptions options_;
  Ranks ranks_;
  RunLog log_;
  PosixFiles files_;
  RunParts parts_;
  const RunSetup& setup_;
  const Dataset& data_;
  Program& program_;
  RunFolder folder_;
  Saver saver_;
  ResumeProof proof_;
  std::optional<StepTrace> trace_;
  std::string nonce_;
  bool saving_ = false;  // a save was started and not yet told
  int64_t step_ = 0;
};

}  // namespace

int train(const RunConfig& config, const TrainOptions& options, World& world) {
  catch_stop_signals(world.rank() == 0);
  Trainer trainer(config, options, world);
  try {
    return trainer.run();
  } catch (const Error& error) {  // the others wait for this rank, and its own wire thread for them
    if (world.size() > 1 && !error.everywhere) world.abort(error.exit_code, error.what());
    throw;
  }
}

}  // namespace shardit
