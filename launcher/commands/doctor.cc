// `shardit doctor`: what this machine and this build are, and what would keep a run from starting here.
#include <iostream>
#include <memory>

#include "core/cuda_device.h"
#include "core/error.h"
#include "dist/launch_environment.h"
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

struct Gpus {
  std::vector<Gpu> found;
  std::string why_none;
};

Gpus look_at_gpus() {
  if (!built_with_cuda()) return {.why_none = "this build has no CUDA"};
  Gpus gpus;
  try {
    for (int i = 0, count = count_gpus(); i < count; ++i) gpus.found.push_back(look_at_gpu(i));
    if (gpus.found.empty()) gpus.why_none = "CUDA finds no GPU";
  } catch (const DeviceError& error) {
    gpus.why_none = error.what();
  }
  return gpus;
}

std::string describe(const Gpu& gpu) {
  return gpu.name + ", sm_" + std::to_string(gpu.compute_capability) + ", " +
         format_bytes(static_cast<double>(gpu.memory_bytes)) + ", " +
         format_bytes(static_cast<double>(gpu.free_bytes)) + " free, driver for CUDA " + gpu.driver;
}

void print_gpus(const Gpus& gpus) {
  if (gpus.found.empty()) print_row("gpus", "none: " + gpus.why_none);
  for (size_t i = 0; i < gpus.found.size(); ++i)
    print_row(i == 0 ? "gpus" : "", std::to_string(i) + ": " + describe(gpus.found[i]));
}

nlohmann::ordered_json gpus_json(const Gpus& gpus) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Gpu& gpu : gpus.found)
    rows.push_back({{"name", gpu.name},
                    {"compute_capability", gpu.compute_capability},
                    {"memory_bytes", gpu.memory_bytes},
                    {"free_bytes", gpu.free_bytes},
                    {"driver_cuda", gpu.driver}});
  return rows;
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
}

void print_all(const DoctorOptions& options, const Machine& machine, const Gpus& gpus) {
  if (options.json) {
    nlohmann::ordered_json facts = machine_json(".");
    facts["gpus"] = gpus_json(gpus);
    std::cout << facts.dump(2) << "\n";
  } else {
    print_facts(machine, build_facts());
    print_gpus(gpus);
  }
}

// Of a job every rank looks at its own machine and says what is amiss there.
int doctor(const DoctorOptions& options) {
  const Machine machine = look_at_machine(".");
  const Gpus gpus = look_at_gpus();
  by_first_rank([&] { return print_all(options, machine, gpus), 0; })();
  if (!machine.missing_features.empty())
    throw DeviceError("this CPU lacks " + words(machine.missing_features) + ", which the binary was compiled for\n" +
                      "build on this machine, or with -DSHARDIT_MARCH=x86-64-v3");
  if (options.gpus && gpus.found.empty()) throw DeviceError("no GPU can be used: " + gpus.why_none);
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
