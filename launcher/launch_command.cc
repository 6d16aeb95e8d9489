#include "launcher/launch_command.h"

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "launcher/config.h"
#include "launcher/run_setup.h"
#include "launcher/strict_flags.h"

namespace shardit {
namespace {

const std::string kExpected = "expected mpirun -np N shardit train CONFIG … after --";

bool one_of(const std::string& word, std::initializer_list<const char*> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

void check_program(const std::string& program) {
  const std::string name = std::filesystem::path(program).filename();
  REQUIRE(name != "srun",
          "launch: got srun: Slurm restarts its own jobs; use sbatch --requeue (docs/clusters.md)\n" + kExpected);
  REQUIRE(one_of(name, {"mpirun", "mpiexec", "orterun", "shardit"}), "launch: got '" + program + "'\n" + kExpected);
}

TrainFlags read_train_flags(std::vector<std::string> words) {
  TrainFlags flags;
  CLI::App app;
  add_train_flags(app, flags);
  try {
    parse_strictly(app, std::move(words));
  } catch (const CLI::ParseError& error) {
    throw UserError(std::string("launch: the command's train: ") + error.what() + "; see shardit train --help");
  }
  return flags;
}

bool is_number(const std::string& word) {
  return !word.empty() && word.size() < 7 && word.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

LaunchCommand::LaunchCommand(std::vector<std::string> words) : words_(std::move(words)) {
  REQUIRE(!words_.empty(), "launch: no command\n" + kExpected);
  check_program(words_[0]);
  const auto train = std::find(words_.begin(), words_.end(), "train");
  REQUIRE(train != words_.end(), "launch: no 'train' in the command: it restarts training only\n" + kExpected);
  REQUIRE(std::find(words_.begin(), words_.end(), ":") == words_.end(),
          "launch: got ':', several programs in one job; expected one: all ranks run the same command");
  train_ = static_cast<size_t>(train - words_.begin());
  flags_ = read_train_flags({train + 1, words_.end()});
  config_ = load_config(flags_.config, flags_.sets);
  REQUIRE(flags_.dump_graph.empty(), "launch: --dump-graph trains nothing; run it without launch");
}

bool LaunchCommand::on_cpu() const {
  return flags_.device.empty() ? config_.device() == RunConfig::cpu : flags_.device == "cpu";
}

size_t LaunchCommand::rank_word() const {
  for (size_t i = 1; i + 1 < train_; ++i)
    if (one_of(words_[i], {"-np", "--np", "-n", "--n", "-c"}) && is_number(words_[i + 1])) return i + 1;
  return 0;
}

std::optional<int> LaunchCommand::ranks() const {
  const size_t at = rank_word();
  return at == 0 ? std::nullopt : std::optional(std::stoi(words_[at]));
}

std::optional<int> LaunchCommand::fewer_ranks() const {
  for (int ranks = *this->ranks() - 1; ranks >= 1; --ranks) {
    try {
      make_setup(config_, plan_mesh(ranks, 0, static_cast<int>(config_.parallel().replicate_group())));
      return ranks;
    } catch (const UserError&) {  // does not divide the micro-batches, or is divided by no replicate_group
    }
  }
  return std::nullopt;
}

void LaunchCommand::set_ranks(int ranks) { words_[rank_word()] = std::to_string(ranks); }

void LaunchCommand::resume_newest() {
  for (size_t i = train_ + 1; i < words_.size(); ++i) {
    if (words_[i].starts_with("--resume=")) words_[i] = "--resume=auto";
    if (words_[i] == "--resume" && i + 1 < words_.size()) words_[i + 1] = "auto";
  }
}

}  // namespace shardit
