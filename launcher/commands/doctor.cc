// `shardit doctor`: what this machine and this build are, and what would keep a run from starting here.
#include <iostream>
#include <memory>

#include "core/error.h"
#include "launcher/commands/commands.h"
#include "launcher/format.h"
#include "launcher/machine.h"

namespace shardit {
namespace {

struct DoctorOptions {
  bool gpus = false, json = false;
};

std::string words(const std::vector<std::string>& list) {
  std::string result;
  for (const std::string& word : list) result += (result.empty() ? "" : " ") + word;
  return result.empty() ? "none of those that shardit uses" : result;
}

void print_row(const char* name, const std::string& value) {
  std::cout << name << std::string(16 - std::string(name).size(), ' ') << value << "\n";
}

void print_facts(const Machine& machine, const Build& build) {
  print_row("host", machine.host + ", " + machine.system);
  print_row("cpu", machine.cpu + ", " + std::to_string(machine.cores) + " cores usable");
  print_row("memory", format_bytes(static_cast<double>(machine.memory_bytes)) + ", " +
                          format_bytes(static_cast<double>(machine.available_bytes)) + " available");
  print_row("free disk", format_bytes(static_cast<double>(machine.disk_free_bytes)) + " in this folder");
  print_row("cpu features", words(machine.cpu_features));
  print_row("compiled for",
            (build.instruction_set.empty() ? "the baseline" : build.instruction_set) + ", by " + build.compiler);
  std::string libraries;
  for (const auto& [name, version] : build.libraries)
    libraries += (libraries.empty() ? "" : ", ") + name + " " + version;
  print_row("libraries", libraries);
  print_row("gpus", build.cuda ? "this build has CUDA" : "this build has no CUDA");
}

int doctor(const DoctorOptions& options) {
  const Machine machine = look_at_machine(".");
  const Build build = build_facts();
  if (options.json)
    std::cout << machine_json(".").dump(2) << "\n";
  else
    print_facts(machine, build);
  if (!machine.missing_features.empty())
    throw DeviceError("this CPU lacks " + words(machine.missing_features) + ", which the binary was compiled for\n" +
                      "build on this machine, or with -DSHARDIT_MARCH=x86-64-v3");
  if (options.gpus && !build.cuda) throw DeviceError("no GPU can be used: this build has no CUDA");
  return 0;
}

}  // namespace

void add_doctor_command(CLI::App& app, Handler& chosen) {
  CLI::App* command =
      add_subcommand(app, "doctor", "Shows what this machine and this build are, and what is amiss", "shardit doctor");
  auto options = std::make_shared<DoctorOptions>();
  command->add_flag("--gpus", options->gpus, "Exit with code 3 if no GPU can be used");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &chosen] { chosen = [options] { return doctor(*options); }; });
}

}  // namespace shardit
