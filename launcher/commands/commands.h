// The commands of the program; each is defined in the file of its name.
#pragma once

#include "launcher/command_line.h"

namespace shardit {

void add_train_command(CLI::App& app, Handler& chosen);
void add_launch_command(CLI::App& app, Handler& chosen);
void add_sample_command(CLI::App& app, Handler& chosen);
void add_checkpoint_command(CLI::App& app, Handler& chosen);
void add_parity_command(CLI::App& app, Handler& chosen);
void add_data_command(CLI::App& app, Handler& chosen);
void add_plan_command(CLI::App& app, Handler& chosen);
void add_bench_command(CLI::App& app, Handler& chosen);
void add_report_command(CLI::App& app, Handler& chosen);
void add_doctor_command(CLI::App& app, Handler& chosen);

}  // namespace shardit
