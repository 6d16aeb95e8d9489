#include "launcher/memory_check.h"

#include "core/error.h"
#include "launcher/format.h"
#include "launcher/machine.h"
#include "launcher/run_program.h"

namespace shardit {
namespace {

int64_t arena_of(const RunConfig& config, int threads) {
  return compile_run(make_setup(config), {}, threads).memory.arena_bytes;
}

// The first of a few settings, from the mildest, with which the training step fits.
std::string nearest_fit(RunConfig config, int64_t limit, int threads) {
  for (const auto policy : {RunConfig::Parallel::selective, RunConfig::Parallel::block}) {
    if (config.parallel().recompute() == RunConfig::Parallel::block) break;
    config.mutable_parallel()->set_recompute(policy);
    const int64_t bytes = arena_of(config, threads);
    if (bytes <= limit)
      return "parallel.recompute=" + RunConfig::Parallel::Recompute_Name(policy) + " fits (" +
             format_bytes(static_cast<double>(bytes)) + ")";
  }
  while (config.micro_batch_size() > 1) {
    int64_t smaller = config.micro_batch_size() - 1;
    while (config.global_batch_size() % smaller != 0) --smaller;
    config.set_micro_batch_size(smaller);
    const int64_t bytes = arena_of(config, threads);
    if (bytes <= limit)
      return "micro_batch_size=" + std::to_string(smaller) +
             " with parallel.recompute=" + RunConfig::Parallel::Recompute_Name(config.parallel().recompute()) +
             " fits (" + format_bytes(static_cast<double>(bytes)) + ")";
  }
  return "no micro-batch size or recomputation fits: the model itself is too large for it";
}

}  // namespace

std::vector<ClassBytes> class_bytes(const MemoryPlan& plan) {
  std::vector<ClassBytes> rows;
  for (const auto& [buffer_class, bytes] : plan.bytes_by_class()) rows.push_back({name_of(buffer_class), bytes});
  return rows;
}

std::string class_table(const MemoryPlan& plan) {
  std::string text;
  for (const ClassBytes& row : class_bytes(plan))
    if (row.bytes > 0)
      text += (text.empty() ? "" : ", ") + row.name + " " + format_bytes(static_cast<double>(row.bytes));
  return text;
}

void check_memory(const RunConfig& config, const MemoryPlan& plan, int threads) {
  const int64_t budget = config.parallel().memory_budget_bytes();
  const int64_t limit = budget > 0 ? budget : look_at_machine(".").available_bytes;
  if (limit <= 0 || plan.arena_bytes <= limit) return;
  throw UserError("the run needs " + format_bytes(static_cast<double>(plan.arena_bytes)) + " per rank, " +
                  (budget > 0 ? "parallel.memory_budget_bytes allows " : "this machine has ") +
                  format_bytes(static_cast<double>(limit)) + "\nneeded: " + class_table(plan) +
                  "\nnearest: " + nearest_fit(config, limit, threads));
}

}  // namespace shardit
