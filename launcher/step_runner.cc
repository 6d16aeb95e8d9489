#include "launcher/step_runner.h"

#include <cmath>

#include "launcher/nonfinite.h"
#include "launcher/run_data.h"
#include "launcher/run_program.h"

namespace shardit {
namespace {

constexpr int kSlots = 2;  // of the double-buffered inputs

}  // namespace

StepRunner::StepRunner(Program& program, const RunSetup& setup, const RunConfig& config, const Dataset& data,
                       Ranks& ranks, int64_t step, Trace* trace)
    : program_(program),
      setup_(setup),
      config_(config),
      data_(data),
      ranks_(ranks),
      trace_(trace),
      losses_(static_cast<size_t>(ranks.size())),
      loader_(data, loader_options(step)) {
  for (const std::string& graph : graphs_of_step(setup)) graphs_.push_back(program.index_of(graph));
}

LoaderOptions StepRunner::loader_options(int64_t step) const {
  return {.seed = config_.seed(),
          .micro_batch_size = setup_.micro_batch,
          .first_sample = step * setup_.global_batch,
          .first_micro_batch = ranks_.rank(),
          .micro_batch_stride = ranks_.size(),
          .threads = static_cast<int>(config_.data().threads()),
          .depth = static_cast<int>(config_.data().prefetch()),
          .flip = config_.data().flip(),
          .on_corrupt = on_corrupt(config_),
          .trace = trace_};
}

void StepRunner::load(Loader& loader, int slot) {
  loader.next({.pixels = static_cast<uint8_t*>(program_.host_pointer("batch.pixels", slot)),
               .labels = static_cast<int64_t*>(program_.host_pointer("batch.labels", slot))});
  program_.push("batch.pixels", slot);
  program_.push("batch.labels", slot);
}

// Rank r of N computes micro-batches r, r + N, …
void StepRunner::set_counters(int64_t step, int64_t round, int slot) {
  const int64_t counters[2] = {step * setup_.global_batch, round * ranks_.size() + ranks_.rank()};
  program_.upload("step.counters", counters, sizeof counters, slot);
}

// In order of micro-batches, so that the sum's bits do not depend on how many ranks made them.
double StepRunner::add_losses(double sum) {
  program_.download("step.loss", losses_.data(), static_cast<int64_t>(losses_.size() * sizeof(float)));
  for (float loss : losses_) sum += static_cast<double>(loss);
  return sum;
}

StepResult StepRunner::run(int64_t step) {
  const double waited = program_.waited_ms(), data_waited = loader_.waited_ms();
  StepResult result;
  for (int64_t round = 0; round < setup_.rounds(); ++round) {
    const int slot = static_cast<int>(round % kSlots);
    load(loader_, slot);
    set_counters(step, round, slot);
    program_.run(graphs_[round], slot);
    result.loss = add_losses(result.loss);
  }
  result.finite = std::isfinite(result.loss);
  if (result.finite) {
    const std::vector<double> numbers = step_numbers(config_, step);
    program_.upload("step.numbers", numbers.data(), static_cast<int64_t>(numbers.size() * sizeof(double)));
    program_.run(graphs_.back());
    double norm[3];
    program_.download("step.norm", norm, sizeof norm);
    result.finite = norm[2] != 0;
    result.grad_norm = norm[0];
    result.unit_norms.resize(setup_.layout.units.size());
    program_.download("step.unit_norms", result.unit_norms.data(),
                      static_cast<int64_t>(result.unit_norms.size() * sizeof(double)));
    result.lr = numbers[0];
  }
  result.exposed_ms = program_.waited_ms() - waited;
  result.data_wait_ms = loader_.waited_ms() - data_waited;
  result.corrupt = loader_.take_corrupt();
  return result;
}

std::string StepRunner::find_nonfinite(int64_t step) {
  LoaderOptions options = loader_options(step);
  options.threads = options.depth = 1;
  Loader again(data_, options);
  std::string found;
  for (int64_t round = 0; round < setup_.rounds() && found.empty(); ++round) {
    load(again, 0);
    set_counters(step, round, 0);
    const std::string mine = first_nonfinite(program_, graphs_[round], 0).value_or("");
    for (const std::string& where : ranks_.all_texts("non-finite", mine))
      if (found.empty()) found = where;
  }
  return found.empty() ? "no single node: the sum over micro-batches overflowed" : found;
}

}  // namespace shardit
