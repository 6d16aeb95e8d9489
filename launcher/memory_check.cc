#include "launcher/memory_check.h"

#include <algorithm>

#include "core/error.h"
#include "launcher/format.h"
#include "launcher/machine.h"
#include "launcher/run_program.h"

namespace shardit {
namespace {

// "2.33 MiB (2447872 bytes)"
std::string exact_bytes(int64_t bytes) {
  return format_bytes(static_cast<double>(bytes)) + " (" + std::to_string(bytes) + " bytes)";
}

// Bytes of the whole run with this config, exactly as it would allocate them.
int64_t arena_of(const RunConfig& config, int threads) {
  const RunSetup setup = make_setup(config);
  return compile_run(setup, run_program_options(config, setup), threads).memory.arena_bytes;
}

// Milder settings, one after the other, each on top of those before; calls fits(config, words) until it says yes.
// First what changes no result (recomputation, then saving without a second copy), then smaller micro-batches.
template <typename Fits> bool try_settings(RunConfig config, Fits&& fits) {
  std::string words;
  const auto recompute = config.parallel().recompute();
  for (const auto policy : {RunConfig::Parallel::selective, RunConfig::Parallel::block}) {
    if (recompute == RunConfig::Parallel::block || recompute == policy) continue;
    config.mutable_parallel()->set_recompute(policy);
    words = "parallel.recompute=" + RunConfig::Parallel::Recompute_Name(policy);
    if (fits(config, words)) return true;
  }
  const auto and_then = [&](const std::string& more) { return words.empty() ? more : words + " " + more; };
  if (config.checkpoint().async()) {
    config.mutable_checkpoint()->set_async(false);
    words = and_then("checkpoint.async=false");
    if (fits(config, words)) return true;
  }
  while (config.micro_batch_size() > 1) {
    int64_t smaller = config.micro_batch_size() - 1;
    while (config.global_batch_size() % smaller != 0) --smaller;
    config.set_micro_batch_size(smaller);
    if (fits(config, and_then("micro_batch_size=" + std::to_string(smaller)))) return true;
  }
  return false;
}

std::string nearest_fit(const RunConfig& config, int64_t limit, int threads) {
  std::string found;
  int64_t least = INT64_MAX;
  try_settings(config, [&](const RunConfig& candidate, const std::string& words) {
    const int64_t bytes = arena_of(candidate, threads);
    least = std::min(least, bytes);
    if (bytes <= limit) found = words + " fits, " + exact_bytes(bytes);
    return bytes <= limit;
  });
  if (!found.empty()) return found;
  return "no micro-batch size or recomputation fits, the least is " +
         exact_bytes(std::min(least, arena_of(config, threads))) + ": the model itself is too large for it";
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
  throw UserError("the run needs " + exact_bytes(plan.arena_bytes) + " per rank, " +
                  (budget > 0 ? "parallel.memory_budget_bytes allows " : "this machine has ") + exact_bytes(limit) +
                  "\nneeded: " + class_table(plan) + "\nnearest: " + nearest_fit(config, limit, threads));
}

}  // namespace shardit
