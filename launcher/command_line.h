// The command line: one binary, one subcommand per file of launcher/commands/.
//
// A command's file defines `void add_<name>_command(CLI::App& app, Handler& chosen)`: it adds a subcommand with its
// flags, and a callback that stores what shall run in `chosen`. Nothing runs before the whole line has been read.
//
// run_command_line is the one place where errors end: it turns them into exit codes and into at most three lines on
// standard error.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <iosfwd>
#include <vector>

namespace shardit {

using Handler = std::function<int()>;  // returns the exit code
using AddCommand = void (*)(CLI::App& app, Handler& chosen);

// The whole program. The second form is for tests: `arguments` without the program's name.
int run_command_line(int argc, char** argv, const std::vector<AddCommand>& commands);
int run_command_line(std::vector<std::string> arguments, const std::vector<AddCommand>& commands, std::ostream& out,
                     std::ostream& err);

// A subcommand whose --help shows defaults; `example` closes the help text.
CLI::App* add_subcommand(CLI::App& app, const std::string& name, const std::string& description,
                         const std::string& example);

// An error's text (core/error_text.h); ranks other than 0 say who they are.
void print_error(const std::string& message, std::ostream& err);

// Runs `body` and turns what it throws into a message and an exit code (core/error.h).
int run_handler(const Handler& body, std::ostream& err);

// Where what a command prints is its result, at its end: throws IoError if a full disk took it. A reader that went away,
// as `head` does, has what it wants.
void finish_output();

// Of a command that one process does alone: under mpirun and srun rank 0 does it, the others are done at once.
Handler by_first_rank(Handler body);

}  // namespace shardit
