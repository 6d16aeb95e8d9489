#include "launcher/run_plan.h"

#include <algorithm>
#include <functional>
#include <set>

#include "core/error.h"
#include "launcher/format.h"
#include "launcher/memory_check.h"
#include "launcher/run_device.h"
#include "launcher/run_program.h"
#include "launcher/threads.h"

namespace shardit {
namespace {

// Steps of less than this share apart are as fast as each other: predictions are no better.
constexpr double kAsFast = 0.005;

Mesh mesh_of(const RunConfig& config, int ranks) {
  return plan_mesh(ranks, 0, static_cast<int>(config.parallel().replicate_group()));
}

std::set<int64_t> micro_batches_of(const RunConfig& config, int ranks) {
  std::set<int64_t> sizes;
  const int64_t of_rank = config.global_batch_size() / ranks;
  for (int64_t size = 1; size <= of_rank; size *= 2)
    if (config.global_batch_size() % (size * ranks) == 0) sizes.insert(size);
  if (config.global_batch_size() % (config.micro_batch_size() * ranks) == 0) sizes.insert(config.micro_batch_size());
  return sizes;
}

std::string name_of(const SweepRow& row) {
  return "zero_stage=" + std::to_string(row.zero_stage) + " micro_batch_size=" + std::to_string(row.micro_batch);
}

std::string bytes(int64_t n) { return format_bytes(static_cast<double>(n)); }

using Rows = std::vector<const SweepRow*>;

Rows rows_that(const std::vector<SweepRow>& rows, const std::function<bool(const SweepRow&)>& count) {
  Rows those;
  for (const SweepRow& row : rows)
    if (count(row)) those.push_back(&row);
  return those;
}

// Null if there is none.
const SweepRow* with_least_memory(const Rows& rows) {
  const auto least = std::min_element(rows.begin(), rows.end(), [](const SweepRow* a, const SweepRow* b) {
    return a->plan.memory.arena_bytes < b->plan.memory.arena_bytes;
  });
  return least == rows.end() ? nullptr : *least;
}

// Of those that are as fast as the fastest the one with the least memory; null if there is none.
const SweepRow* best_of(Rows rows) {
  if (rows.empty()) return nullptr;
  double fastest_ms = rows.front()->plan.step_ms;
  for (const SweepRow* row : rows) fastest_ms = std::min(fastest_ms, row->plan.step_ms);
  std::erase_if(rows, [&](const SweepRow* row) { return row->plan.step_ms > fastest_ms * (1 + kAsFast); });
  return with_least_memory(rows);
}

SweepRow row_of(Planner& planner, const RunConfig& config, int ranks, int64_t limit) {
  SweepRow row{.zero_stage = static_cast<int>(config.parallel().zero_stage()),
               .micro_batch = config.micro_batch_size()};
  try {
    row.plan = planner.predict(config, ranks);
    row.fits = limit == 0 || row.plan.memory.arena_bytes <= limit;
  } catch (const UserError& error) {
    const std::string message = error.what();
    row.fits = false;
    row.refused = message.substr(0, message.find('\n'));
  }
  return row;
}

// How `other` falls short of `best`.
std::string against(const SweepRow& best, const SweepRow& other, int64_t limit) {
  const std::string name = name_of(other) + " ";
  if (!other.refused.empty()) return name + "is refused: " + other.refused;
  if (!other.fits) return name + "does not fit: " + bytes(other.plan.memory.arena_bytes) + " of " + bytes(limit);
  const double slower = other.plan.step_ms / best.plan.step_ms - 1;
  const int64_t more = other.plan.memory.arena_bytes - best.plan.memory.arena_bytes;
  if (slower <= kAsFast && more >= 0)
    return name + "is as fast" + (more > 0 ? ", with " + bytes(more) + " more a rank" : ", with the same memory");
  const double exposed = other.plan.exposed_ms - best.plan.exposed_ms,
               computing = other.plan.step_ms - best.plan.step_ms - exposed;
  std::string reason;
  if (exposed > 0.2 * computing) reason += format_ms(exposed) + " more waiting for other ranks";
  if (computing > 0.2 * exposed) reason += (reason.empty() ? "" : ", ") + format_ms(computing) + " more computing";
  if (more < 0) reason += ", with " + bytes(-more) + " less a rank";
  return name + "is " + format_number(100 * slower, 2) + " % slower: " + reason;
}

std::vector<std::string> reasons(const std::vector<SweepRow>& rows, const SweepRow& best, int64_t limit) {
  std::vector<std::string> why;
  for (int stage = 0; stage <= 3; ++stage) {
    if (stage == best.zero_stage) continue;
    const Rows all = rows_that(rows, [&](const SweepRow& r) { return r.zero_stage == stage; });
    Rows possible = all, fitting = all;
    std::erase_if(possible, [](const SweepRow* row) { return !row->refused.empty(); });
    std::erase_if(fitting, [](const SweepRow* row) { return !row->fits; });
    const SweepRow* other = best_of(fitting);
    if (!other) other = possible.empty() ? all.front() : with_least_memory(possible);
    why.push_back(against(best, *other, limit));
  }
  const SweepRow *smaller = nullptr, *larger = nullptr;  // the nearest of the same stage
  for (const SweepRow& row : rows) {
    if (row.zero_stage != best.zero_stage) continue;
    if (row.micro_batch < best.micro_batch) smaller = &row;
    if (row.micro_batch > best.micro_batch && !larger) larger = &row;
  }
  for (const SweepRow* other : {smaller, larger})
    if (other) why.push_back(against(best, *other, limit));
  return why;
}

}  // namespace

Planner::Planner(const RunConfig& config, const std::string& cluster, int ranks_per_node)
    : config_(config),
      cluster_(cluster),
      ranks_per_node_(ranks_per_node) {
  const bool wants_gpus = config.device() == RunConfig::cuda;
  if (cluster_.empty()) cluster_ = wants_gpus ? "h200-ib400" : "cpu";
}

const Cluster& Planner::cluster(int ranks) {
  const int threads = compute_threads(ranks);
  if (const auto known = by_threads_.find(threads); known != by_threads_.end()) return known->second;
  Cluster cluster = load_cluster(cluster_, config_, threads);
  REQUIRE(config_.device() != (cluster.gpus ? RunConfig::cpu : RunConfig::cuda),
          "device=" + RunConfig::Device_Name(config_.device()) + ": ranks of cluster " + cluster_ + " compute on " +
              (cluster.gpus ? "GPUs: use device=auto or cuda" : "the CPU: use device=auto or cpu") +
              ", or another --cluster");
  if (ranks_per_node_ > 0) cluster.ranks_per_node = ranks_per_node_;
  return by_threads_.emplace(threads, std::move(cluster)).first->second;
}

int64_t Planner::memory_limit(const RunConfig& config, int ranks) {
  const int64_t budget = config.parallel().memory_budget_bytes();
  return budget > 0 ? budget : cluster(ranks).memory_bytes;
}

RunPlan Planner::predict(const RunConfig& config, int ranks) {
  const Cluster& machines = cluster(ranks);
  const RunSetup setup = make_setup(config, mesh_of(config, ranks));
  const CompiledProgram program = compile_for(config, setup, ranks);
  const PredictedStep step = predict_step(program, setup, pace_of(machines, setup.sharding.mesh));
  RunPlan plan{.ranks = ranks,
               .images = config.global_batch_size(),
               .memory = program.memory,
               .wire_bytes = wire_bytes_per_step(program, setup),
               .step_ms = step.ms,
               .exposed_ms = step.total_exposed_ms()};
  const double model_flops = 3 * forward_matmul_flops(setup) * static_cast<double>(plan.images);
  plan.mfu = model_flops / (step.ms * 1e-3) / (ranks * machines.peak_flops_per_s(setup.precision.compute));
  plan.finish_h = static_cast<double>(config.steps()) * step.ms / 3.6e6;
  return plan;
}

RunPlan Planner::plan(const RunConfig& config, int ranks) {
  RunPlan plan = predict(config, ranks);
  RunSetup setup = make_setup(config, mesh_of(config, ranks));
  setup.fastest = true;
  plan.wire_bytes_fastest = wire_bytes_per_step(compile_for(config, setup, ranks), setup);
  return plan;
}

CompiledProgram Planner::compile_for(const RunConfig& config, const RunSetup& setup, int ranks) {
  const Target target = planned_target(cluster(ranks).gpus ? "cuda" : "cpu", compute_threads(ranks));
  return compile_run(setup, run_program_options(config, setup, target), target);
}

Sweep sweep(Planner& planner, const RunConfig& config, int ranks) {
  Sweep sweep{.ranks = ranks, .memory_limit = planner.memory_limit(config, ranks)};
  for (int stage = 0; stage <= 3; ++stage)
    for (int64_t size : micro_batches_of(config, ranks)) {
      RunConfig other = config;
      other.mutable_parallel()->set_zero_stage(stage);
      other.set_micro_batch_size(size);
      sweep.rows.push_back(row_of(planner, other, ranks, sweep.memory_limit));
    }
  const SweepRow* best = best_of(rows_that(sweep.rows, [](const SweepRow& row) { return row.fits; }));
  const SweepRow* least = with_least_memory(rows_that(sweep.rows, [](const SweepRow& r) { return r.refused.empty(); }));
  if (best) {
    sweep.best = static_cast<int>(best - sweep.rows.data());
    sweep.why = reasons(sweep.rows, *best, sweep.memory_limit);
  } else if (least) {
    sweep.why = {"none fits in " + bytes(sweep.memory_limit) + ": the least is " + name_of(*least) + " with " +
                 bytes(least->plan.memory.arena_bytes)};
  } else {
    for (const SweepRow& row : sweep.rows) sweep.why.push_back(name_of(row) + " is refused: " + row.refused);
  }
  return sweep;
}

Json to_json(const RunPlan& plan, int64_t checkpoint_bytes) {
  Json rows = Json::array();
  for (const ClassBytes& row : class_bytes(plan.memory)) rows.push_back({{"class", row.name}, {"bytes", row.bytes}});
  return {{"ranks", plan.ranks},
          {"global_batch_images", plan.images},
          {"per_rank", rows},
          {"peak_bytes", plan.memory.arena_bytes},
          {"wire_bytes_per_step", plan.wire_bytes},
          {"wire_bytes_per_step_fastest", plan.wire_bytes_fastest},
          {"step_ms", plan.step_ms},
          {"mfu", plan.mfu},
          {"exposed_ms", plan.exposed_ms},
          {"images_per_s", plan.images_per_s()},
          {"checkpoint_bytes", checkpoint_bytes},
          {"finish_h", plan.finish_h},
          {"device_h", plan.device_h()}};
}

Json to_json(const Sweep& sweep) {
  Json rows = Json::array();
  for (size_t i = 0; i < sweep.rows.size(); ++i) {
    const SweepRow& row = sweep.rows[i];
    if (!row.refused.empty()) {
      rows.push_back({{"zero_stage", row.zero_stage},
                      {"micro_batch_size", row.micro_batch},
                      {"fits", false},
                      {"refused", row.refused}});
      continue;
    }
    rows.push_back({{"zero_stage", row.zero_stage},
                    {"micro_batch_size", row.micro_batch},
                    {"peak_bytes", row.plan.memory.arena_bytes},
                    {"fits", row.fits},
                    {"step_ms", row.plan.step_ms},
                    {"mfu", row.plan.mfu},
                    {"exposed_ms", row.plan.exposed_ms},
                    {"images_per_s", row.plan.images_per_s()},
                    {"best", static_cast<int>(i) == sweep.best}});
  }
  Json json{{"ranks", sweep.ranks}, {"rows", rows}, {"why", sweep.why}};
  if (sweep.memory_limit > 0) json["memory_limit_bytes"] = sweep.memory_limit;
  return json;
}

}  // namespace shardit
