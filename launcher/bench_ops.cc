#include "launcher/bench_ops.h"

#include "launcher/median.h"
#include "launcher/run_device.h"
#include "launcher/run_setup.h"
#include "launcher/training_run.h"

namespace shardit {

RunProgramOptions all_graphs(const RunConfig& config, const Target& target) {
  RunConfig all = config;
  all.mutable_validation()->set_every_steps(1);
  all.mutable_sample()->set_every_steps(1);
  return run_program_options(all, make_setup(config), target);
}

RunConfig on_one_rank(RunConfig config) {
  config.mutable_parallel()->set_replicate_group(1);
  return config;
}

std::string default_bench_config() {
  return "global_batch_size: 128 micro_batch_size: 16 "
         "model { input_size: 16 patch_size: 2 hidden_size: 256 depth: 2 num_heads: 4 num_classes: 10 } "
         "data { kind: synthetic images: 1024 } ema { name: 'ema' decay: 0.9999 }";
}

OpsBench measure_ops(const RunConfig& config, int times, int threads) {
  const std::string wanted = RunConfig::Device_Name(config.device());
  OpsBench bench{.threads = threads,
                 .ceilings = measure_ceilings(*open_device(wanted).device, threads, multiplies_in_tf32(config))};
  const auto world = make_single_world();
  TrainingRunOptions options{.device = open_device(wanted).device, .threads = threads};
  options.graphs = all_graphs(config, target_of(*options.device, threads));
  TrainingRun run(on_one_rank(config), *world, std::move(options));
  bench.device = full_name(run.device());
  bench.products = run.products().note;

  KernelTimes times_of;
  for (int g = 0; g < run.program().graph_count(); ++g) measure_kernels(run.program(), g, times, times_of);
  for (const KernelTimes::Kernel* kernel : times_of.kernels())
    if (kernel->cost.bytes > 0)
      bench.ops.push_back(
          {*kernel, median(kernel->ms), bench.ceilings.floor(kernel->cost, type_of_products(kernel->in))});
  return bench;
}

Json to_json(const OpsBench& bench) {
  const auto texts = [](const std::vector<Type>& types) {
    Json list = Json::array();
    for (const Type& type : types) list.push_back(type.str());
    return list;
  };
  Json ops = Json::array();
  for (const OpTime& op : bench.ops)
    ops.push_back({{"op", op.kernel.card},
                   {"attributes", op.kernel.attributes},
                   {"in", texts(op.kernel.in)},
                   {"out", texts(op.kernel.out)},
                   {"runs", op.kernel.ms.size()},
                   {"ms", op.ms},
                   {"gflop", (op.kernel.cost.matmul_flops + op.kernel.cost.flops) * 1e-9},
                   {"bytes", op.kernel.cost.bytes},
                   {"gflop_per_s", op.gflop_per_s()},
                   {"gb_per_s", op.gb_per_s()},
                   {"limit", name_of(op.floor.limit)},
                   {"fraction_of_ceiling", op.fraction_of_ceiling()}});
  return {{"device", bench.device}, {"threads", bench.threads}, {"ceilings", to_json(bench.ceilings)}, {"ops", ops}};
}

}  // namespace shardit
