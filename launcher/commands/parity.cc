// `shardit parity GOLDEN…`.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launcher/commands/commands.h"
#include "launcher/parity.h"
#include "launcher/run_device.h"
#include "launcher/threads.h"

namespace shardit {
namespace {

struct Flags {
  std::vector<std::string> files;
  std::string device = "cpu", precision = "fp32";
  bool json = false;

  Precision way_of_products() const {
    return {.compute = precision == "bf16" ? DType::kBF16 : DType::kF32, .tf32 = precision == "tf32"};
  }
};

void print_line(const ParityResult& r) {
  if (r.status == ParityResult::kSkipped)
    std::printf("%s %s - - skipped\n", r.file.c_str(), r.section.c_str());
  else
    std::printf("%s %s %.3g %.3g %s\n", r.file.c_str(), r.section.c_str(), r.error, r.tolerance, status_text(r.status));
  std::fflush(stdout);
}

nlohmann::ordered_json to_json(const ParityResult& r) {
  nlohmann::ordered_json row = {{"file", r.file},
                                {"section", r.section},
                                {"status", status_text(r.status)},
                                {"error", nullptr},
                                {"tolerance", nullptr}};
  if (r.status != ParityResult::kSkipped) row["error"] = r.error;
  if (r.tolerance > 0) row["tolerance"] = r.tolerance;
  return row;
}

// Judges one file: 1 if a section fails, else 0. Throws where the file cannot be judged.
int judge(const std::string& file, const Flags& flags, Device& device, nlohmann::ordered_json& rows) {
  bool failed = false;
  for (const ParityResult& result : run_parity(file, flags.way_of_products(), device, compute_threads())) {
    failed = failed || result.status == ParityResult::kFail;
    if (flags.json)
      rows.push_back(to_json(result));
    else
      print_line(result);
  }
  return failed ? 1 : 0;
}

// A file that cannot be judged says so in its place, the others go on; the exit code is the worst of all files.
int run(const Flags& flags) {
  const RunDevice on = open_device(flags.device);
  for (const std::string& note : on.notes) std::cerr << note << std::endl;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  int worst = 0;
  for (const std::string& file : flags.files)
    worst = std::max(worst, run_handler([&] { return judge(file, flags, *on.device, rows); }, std::cerr));
  if (flags.json) std::cout << rows.dump(2) << "\n";
  return worst;
}

}  // namespace

void add_parity_command(CLI::App& app, Handler& chosen) {
  CLI::App* command = add_subcommand(
      app, "parity", "Compares this program with outputs of the reference implementation, section by section",
      "shardit parity goldens/latent-*.safetensors");
  auto flags = std::make_shared<Flags>();
  command->add_option("GOLDEN", flags->files, "Golden files (safetensors)")->required();
  command->add_option("--device", flags->device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  command
      ->add_option(
          "--precision", flags->precision,
          "fp32; or, of which only forward, cfg, loss and grad are judged, bf16 (at 2e-2) and tf32 (on a GPU; at "
          "2.5e-3)")
      ->check(CLI::IsMember({"fp32", "tf32", "bf16"}))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print a list of {file, section, status, error, tolerance}");
  command->callback([flags, &chosen] { chosen = by_first_rank([flags] { return run(*flags); }); });
}

}  // namespace shardit
