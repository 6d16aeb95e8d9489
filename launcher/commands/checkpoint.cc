// `shardit checkpoint inspect|verify|diff|reshard|export|import|prune …`.
#include <filesystem>
#include <iostream>

#include "checkpoints/directory.h"
#include "checkpoints/inspect.h"
#include "checkpoints/load.h"
#include "checkpoints/release.h"
#include "checkpoints/reshard.h"
#include "checkpoints/run_lock.h"
#include "core/error.h"
#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/format.h"
#include "launcher/output_file.h"
#include "launcher/run_program.h"
#include "launcher/state.h"

namespace shardit {
namespace {

struct Flags {
  std::string a, b, which = "params", config;
  bool tensors = false, digest = false, json = false;
  double tolerance = 0;
  int keep_last = 0;
  int64_t keep_every = 0, memory_budget_bytes = kReshardBudgetBytes;
  int ranks = 0;
};

void make_run_dir(const std::string& path) {
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (failed) throw IoError("cannot create " + path + ": " + failed.message());
}

int inspect(const Flags& f) {
  PosixFiles files;
  const Checkpoint checkpoint = open_checkpoint(files, f.a);
  if (f.json)
    std::cout << (f.digest ? digest_json(checkpoint) : describe_json(checkpoint));
  else
    std::cout << (f.digest ? digest_line(checkpoint) : describe_text(checkpoint, f.tensors));
  return 0;
}

int verify(const Flags& f) {
  PosixFiles files;
  const Checkpoint checkpoint = open_checkpoint(files, f.a);
  const int64_t bytes = verify_checkpoint(files, checkpoint);
  std::cout << checkpoint.path << ": ok, " << format_bytes(static_cast<double>(bytes)) << " read, "
            << digest_line(checkpoint);
  return 0;
}

int diff(const Flags& f) {
  PosixFiles files;
  const Difference difference =
      diff_checkpoints(files, open_checkpoint(files, f.a), open_checkpoint(files, f.b), f.tolerance);
  std::cout << difference.text();
  return difference.equal ? 0 : 1;
}

int reshard_to(const Flags& f) {
  PosixFiles files;
  const Checkpoint from = open_checkpoint(files, f.a);
  const Layout layout = make_setup(parse_config(from.manifest.run.config_text, from.path)).layout;
  const ReshardPlan plan = plan_reshard(from, layout, f.ranks, f.memory_budget_bytes);
  make_run_dir(f.b);
  RunLock lock(f.b);
  const SaveReport report = reshard(files, plan, f.b);
  for (const std::string& note : report.notes) std::cout << note << "\n";
  std::cout << "wrote " << report.path << " for " << f.ranks << (f.ranks == 1 ? " rank (" : " ranks (")
            << format_bytes(static_cast<double>(report.bytes)) << "), digest " << report.root.hex() << "\n";
  return 0;
}

int export_to(const Flags& f) {
  check_output_file(f.b);
  PosixFiles files;
  const Checkpoint checkpoint = open_checkpoint(files, f.a);
  const RunConfig config = parse_config(checkpoint.manifest.run.config_text, checkpoint.path);
  const ReleasedValues released(make_setup(config).model);
  const int64_t bytes = export_weights(files, checkpoint, f.which, released.constants, f.b);
  std::cout << "wrote " << f.b << " (" << format_bytes(static_cast<double>(bytes)) << ")\n";
  return 0;
}

// Step 0 of a new run: the file's weights, every EMA a copy of them, moments zero.
int import_from(const Flags& f) {
  PosixFiles files;
  const RunConfig config = load_config(f.config);
  const RunSetup setup = make_setup(config);
  Pool pool(1);
  const auto device = make_cpu_device();
  Program program(compile_state(setup), *device, pool);
  initialize_state(program, setup);
  const ReleasedValues released(setup.model);
  const std::vector<StateTensor> params = tensors_of(program, setup, {"params", "master"});
  import_weights(files, f.a, params, released.constants);
  copy_weights_to_emas(program, setup);
  make_run_dir(f.b);
  RunLock lock(f.b);
  const NewestCheckpoint newest = find_newest(files, f.b);
  REQUIRE(!newest.checkpoint && newest.problems.empty(),
          f.b + " has checkpoints already: import starts a new run; choose another directory");
  RunState run{.seed = config.seed(),
               .config_text = resolved_text(config),
               .device_kind = "imported",
               .run_nonce = write_nonce(files, f.b)};
  const auto alone = make_single_world()->make_group("import");
  const SaveReport report = save_sharded(files, *alone, f.b, run, parts_held(program, setup));
  std::cout << "wrote " << report.path << ", digest " << report.root.hex() << "\n";
  return 0;
}

int prune_run(const Flags& f) {
  PosixFiles files;
  REQUIRE(files.kind(checkpoints_dir(f.a)) == PathKind::kDirectory,
          f.a + " has no checkpoints: expected a run directory");
  RunLock lock(f.a);
  const PruneReport report = prune(files, f.a, f.keep_last, f.keep_every);
  for (const std::string& problem : report.problems) std::cout << "warning: " << problem << "\n";
  std::cout << "kept " << report.kept.size() << ", deleted " << report.deleted.size() << " checkpoints\n";
  return 0;
}

using Body = int (*)(const Flags&);

CLI::App* add(CLI::App* parent, Handler& chosen, std::shared_ptr<Flags> flags, const std::string& name,
              const std::string& description, const std::string& arguments, Body body) {
  CLI::App* command = add_subcommand(*parent, name, description, "shardit checkpoint " + name + " " + arguments);
  command->callback([flags, body, &chosen] { chosen = by_first_rank([flags, body] { return body(*flags); }); });
  return command;
}

constexpr const char* kPath = "A step directory, or a run directory (its newest valid checkpoint)";

}  // namespace

void add_checkpoint_command(CLI::App& app, Handler& chosen) {
  CLI::App* group = add_subcommand(app, "checkpoint", "Looks into checkpoints and converts them",
                                   "shardit checkpoint inspect runs/demo --digest");
  group->require_subcommand(1);
  auto flags = std::make_shared<Flags>();

  CLI::App* c =
      add(group, chosen, flags, "inspect", "What is in it: step, config, ranks, tensors, shard map, sizes, root digest",
          "runs/demo --digest", inspect);
  c->add_option("PATH", flags->a, kPath)->required();
  c->add_flag("--tensors", flags->tensors, "List every tensor");
  c->add_flag("--digest", flags->digest, "Print the root digest only");
  c->add_flag("--json", flags->json, "Print one JSON object");

  c = add(group, chosen, flags, "verify", "Reads every byte; names the first bad tensor, file and offset (exit 4)",
          "runs/demo", verify);
  c->add_option("PATH", flags->a, kPath)->required();

  c = add(group, chosen, flags, "diff", "Compares two checkpoints tensor by tensor; exit 1 if they differ",
          "runs/a runs/b --tolerance 1e-6", diff);
  c->add_option("A", flags->a, kPath)->required();
  c->add_option("B", flags->b, kPath)->required();
  c->add_option("--tolerance", flags->tolerance, "Largest relative difference that counts as equal")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);

  c = add(group, chosen, flags, "reshard", "Writes a checkpoint as another number of ranks would have written it",
          "runs/demo runs/for64 --ranks 64", reshard_to);
  c->add_option("A", flags->a, kPath)->required();
  c->add_option("B", flags->b, "Run directory to write the step into; it must not have that step")->required();
  c->add_option("--ranks", flags->ranks, "How many ranks")->required()->check(CLI::PositiveNumber);
  c->add_option("--memory-budget", flags->memory_budget_bytes,
                "Most memory it takes beyond the program itself; bytes, or with a unit: 16MiB, 2GiB")
      ->default_str("2GiB")
      ->transform(CLI::AsSizeValue(false));

  c = add(group, chosen, flags, "export",
          "Writes weights as one safetensors file with the released DiffiT tensor names",
          "runs/demo main.safetensors --which ema:main", export_to);
  c->add_option("A", flags->a, kPath)->required();
  c->add_option("OUT", flags->b, "File to write")->required();
  c->add_option("--which", flags->which, "ema:NAME, params or all")->capture_default_str();

  c = add(group, chosen, flags, "import", "Starts a run from a safetensors file with the released names",
          "main.safetensors runs/tuned --config configs/demo.textproto", import_from);
  c->add_option("IN", flags->a, "File to read")->required();
  c->add_option("RUN", flags->b, "Run directory to start")->required();
  c->add_option("--config", flags->config, "Run config of the new run")->required();

  c = add(group, chosen, flags, "prune", "Deletes old checkpoints", "runs/demo --keep-last 3 --keep-every 10000",
          prune_run);
  c->add_option("RUN", flags->a, "Run directory")->required();
  c->add_option("--keep-last", flags->keep_last, "How many of the newest stay")->required()->check(CLI::PositiveNumber);
  c->add_option("--keep-every", flags->keep_every, "Steps that are a multiple of this stay too; 0: none")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
}

}  // namespace shardit
