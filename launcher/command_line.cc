#include "launcher/command_line.h"

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <new>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/error_text.h"
#include "dist/launch_environment.h"
#include "launcher/nearest.h"
#include "launcher/strict_flags.h"

namespace shardit {
namespace {

constexpr int kUserMistake = 2, kDeviceFault = 3, kBug = 70;  // cli.md: codes above 6 are bugs
// All ranks read the same flags: rank 0 tells the mistake, and the others stay that long, since a launcher ends them
// all when the first one fails.
constexpr auto kFirstSpeaks = std::chrono::milliseconds(500);

}  // namespace

void print_error(const std::string& message, std::ostream& err) {
  const int rank = rank_from_environment();
  err << error_text(rank == 0 ? "shardit" : "shardit, rank " + std::to_string(rank), message) << std::flush;
}

namespace {

// The command that the words named last, as far as they were understood: "shardit checkpoint diff".
const CLI::App& deepest(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : deepest(*chosen.front());
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() ? full_name(*app.get_parent()) + " " + app.get_name() : app.get_name();
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  return flags;
}

std::vector<std::string> commands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

std::string describe_leftover(const CLI::App& command, const std::string& word) {
  const bool is_flag = word.size() > 1 && word[0] == '-';
  const std::string flag = word.substr(0, word.find('='));
  const std::string close = nearest(is_flag ? flag : word, is_flag ? flags_of(command) : commands_of(command));
  const std::string where = full_name(command);
  std::string message = is_flag                        ? "unknown flag " + flag + " of '" + where + "'"
                        : commands_of(command).empty() ? "unexpected word '" + word + "' after '" + where + "'"
                                                       : "unknown command '" + where + " " + word + "'";
  if (!close.empty()) return message + ": did you mean " + close + "?";
  if (!is_flag && !commands_of(command).empty())
    return message + ": there are " + join_words(commands_of(command), "and");
  return message + ": see " + where + " --help";
}

// The first word that no command, flag or argument took; "" if there is none.
std::string leftover(const CLI::App& app) {
  for (const auto& words : {deepest(app).remaining(), app.remaining(true)})
    for (const std::string& word : words)
      if (word != "--") return word;
  return "";
}

// Asked for the help of a command that is not there, CLI11 gives that of the one above it.
bool names_unknown_command(const CLI::App& app) {
  return !commands_of(deepest(app)).empty() && !leftover(app).empty() && leftover(app)[0] != '-';
}

// CLI11's words for a mistake in the line, or ours where we know a likely fix.
std::string describe(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = deepest(app);
  if (const std::string word = leftover(app); !word.empty()) return describe_leftover(command, word);
  const bool lacks_command = !commands_of(command).empty() && dynamic_cast<const CLI::RequiredError*>(&error);
  if (lacks_command)
    return "'" + full_name(command) + "' needs a command: " + join_words(commands_of(command)) + "; see --help";
  const std::string speaker = command.get_parent() ? full_name(command) + ": " : "";
  return speaker + error.what() + "; see " + full_name(command) + " --help";
}

void tell_mistake(const std::string& message, std::ostream& err) {
  if (speaks_for_job())
    print_error(message, err);
  else
    std::this_thread::sleep_for(kFirstSpeaks);
}

void configure(CLI::App& app) {
  app.name("shardit");
  app.require_subcommand(1);
  app.fallthrough(false);
  app.get_formatter()->column_width(36);
  app.option_defaults()->always_capture_default();
  app.footer(
      "Exit codes: 0 done, 1 a comparison is false, 2 your mistake, 3 device or communication, 4 disk or corrupt "
      "data,\n"
      "5 training stopped itself, 6 hang. Every command has --help.");
}

}  // namespace

CLI::App* add_subcommand(CLI::App& app, const std::string& name, const std::string& description,
                         const std::string& example) {
  CLI::App* command = app.add_subcommand(name, description);
  command->option_defaults()->always_capture_default();
  command->footer("Example:\n  " + example);
  return command;
}

int run_handler(const Handler& body, std::ostream& err) {
  try {
    return body();
  } catch (const UserError& error) {
    tell_mistake(error.what(), err);
    return error.exit_code;
  } catch (const Error& error) {
    print_error(error.what(), err);
    return error.exit_code;
  } catch (const std::bad_alloc&) {
    print_error("out of memory on the host: use a smaller micro_batch_size, or free memory", err);
    return kDeviceFault;
  } catch (const std::exception& error) {
    print_error(std::string("internal error: ") + error.what() + "\nthis is a bug in shardit; please report it", err);
    return kBug;
  }
}

void finish_output() {
  std::cout.flush();
  const bool written = std::fflush(stdout) == 0 && !std::ferror(stdout) && std::cout.good();
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  const bool reader_left = poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
  if (!written && !reader_left) throw IoError("standard output takes no more: the result is not complete; free space");
}

Handler by_first_rank(Handler body) {
  return [body = std::move(body)] {
    if (!speaks_for_job()) return 0;
    const int code = body();
    finish_output();
    return code;
  };
}

int run_command_line(std::vector<std::string> arguments, const std::vector<AddCommand>& commands, std::ostream& out,
                     std::ostream& err) {
  CLI::App app("Trains diffusion transformers, on one CPU or many GPUs.");
  configure(app);
  Handler chosen;
  for (AddCommand add : commands) add(app, chosen);
  try {
    parse_strictly(app, std::move(arguments));
  } catch (const CLI::Success& help) {
    if (names_unknown_command(app)) {
      tell_mistake(describe(app, help), err);
      return kUserMistake;
    }
    if (speaks_for_job()) app.exit(help, out, err);
    return 0;
  } catch (const CLI::ParseError& error) {
    tell_mistake(describe(app, error), err);
    return kUserMistake;
  }
  return run_handler(chosen, err);
}

int run_command_line(int argc, char** argv, const std::vector<AddCommand>& commands) {
  return run_command_line(std::vector<std::string>(argv + 1, argv + argc), commands, std::cout, std::cerr);
}

}  // namespace shardit
