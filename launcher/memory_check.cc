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

// Bytes of the whole run with this config, exactly as a rank would allocate them; INT64_MAX if it cannot be run so.
int64_t arena_of(const RunConfig& config, const MemoryLimits& limits) {
  try {
    const RunSetup setup = make_setup(config, limits.mesh);
    return compile_run(setup, run_program_options(config, setup, limits.target), limits.target).memory.arena_bytes;
  } catch (const UserError&) {  // a prefetch window below one unit
    return INT64_MAX;
  }
}

// Milder settings, one after the other, each on top of those before; calls fits(config, words) until it says yes.
// First what changes no result (sharding, recomputation, then saving without a second copy), then smaller
// micro-batches.
template <typename Fits> bool try_settings(RunConfig config, const Mesh& mesh, Fits&& fits) {
  std::string words;
  for (const int stage : {2, 3}) {
    if (mesh.shard.size == 1 || config.parallel().zero_stage() >= stage) continue;
    config.mutable_parallel()->set_zero_stage(stage);
    words = "parallel.zero_stage=" + std::to_string(stage);
    if (fits(config, words)) return true;
  }
  const auto and_then = [&](const std::string& more) { return words.empty() ? more : words + " " + more; };
  const std::string sharded = words;
  const auto recompute = config.parallel().recompute();
  for (const auto policy : {RunConfig::Parallel::selective, RunConfig::Parallel::block}) {
    if (recompute == RunConfig::Parallel::block || recompute == policy) continue;
    config.mutable_parallel()->set_recompute(policy);
    words = sharded;
    words = and_then("parallel.recompute=" + RunConfig::Parallel::Recompute_Name(policy));
    if (fits(config, words)) return true;
  }
  if (config.checkpoint().async()) {
    config.mutable_checkpoint()->set_async(false);
    words = and_then("checkpoint.async=false");
    if (fits(config, words)) return true;
  }
  while (config.micro_batch_size() > 1) {
    int64_t smaller = config.micro_batch_size() - 1;
    while (smaller > 1 && config.global_batch_size() % (smaller * mesh.ranks()) != 0) --smaller;
    if (config.global_batch_size() % (smaller * mesh.ranks()) != 0) return false;
    config.set_micro_batch_size(smaller);
    if (fits(config, and_then("micro_batch_size=" + std::to_string(smaller)))) return true;
  }
  return false;
}

std::string nearest_fit(const RunConfig& config, int64_t limit, const MemoryLimits& limits) {
  std::string found;
  int64_t least = INT64_MAX;
  try_settings(config, limits.mesh, [&](const RunConfig& candidate, const std::string& words) {
    const int64_t bytes = arena_of(candidate, limits);
    least = std::min(least, bytes);
    if (bytes <= limit) found = words + " fits, " + exact_bytes(bytes);
    return bytes <= limit;
  });
  if (!found.empty()) return found;
  return "no micro-batch size or recomputation fits, the least is " +
         exact_bytes(std::min(least, arena_of(config, limits))) + ": the model itself is too large for it";
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

void check_memory(const RunConfig& config, const MemoryPlan& plan, const MemoryLimits& limits) {
  const int64_t budget = config.parallel().memory_budget_bytes();
  const bool own = limits.device_free_bytes > 0;
  const int64_t limit = budget > 0 ? budget
                        : own      ? limits.device_free_bytes
                                   : look_at_machine(".").available_bytes / limits.local_ranks;
  if (limit <= 0 || plan.arena_bytes <= limit) return;
  throw UserError("the run needs " + exact_bytes(plan.arena_bytes) + " per rank, " +
                  (budget > 0 ? "parallel.memory_budget_bytes allows "
                   : own      ? "the GPU has free "
                              : "this machine has for each ") +
                  exact_bytes(limit) + "\nneeded: " + class_table(plan) +
                  "\nnearest: " + nearest_fit(config, limit, limits));
}

}  // namespace shardit
