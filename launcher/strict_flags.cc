#include "launcher/strict_flags.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>

namespace shardit {
namespace {

// The numbers that a flag takes, from CLI11's name for them, as in "INT:POSITIVE". CLI11 itself would write such a
// bound as 309 digits, and take what is beyond 64 bits for the largest number.
struct Numbers {
  explicit Numbers(const std::string& type)
      : whole(type.starts_with("INT")),
        positive(type.find(":POSITIVE") != std::string::npos),
        not_negative(type.find(":NONNEGATIVE") != std::string::npos) {}

  bool hold(const std::string& text) const {
    char* end = nullptr;
    errno = 0;
    const double x =
        whole ? static_cast<double>(std::strtoll(text.c_str(), &end, 10)) : std::strtod(text.c_str(), &end);
    if (*end != '\0' || errno != 0 || std::isnan(x)) return false;
    return positive ? x > 0 : !not_negative || x >= 0;
  }
  std::string words() const {
    return std::string(whole ? "a whole number" : "a number") + (positive       ? " above 0"
                                                                 : not_negative ? ", 0 or more"
                                                                                : "");
  }

  bool whole, positive, not_negative;
};

bool is_number(const std::string& type) {
  const bool size = type.find("SIZE") != std::string::npos;  // "2GiB": CLI11's words for it are good
  return !size && (type.starts_with("INT") || type.starts_with("FLOAT"));
}

// What is wrong with a value; "" if nothing.
std::string complaint(const std::string& value, const std::string& type) {
  if (value.empty()) return "got an empty value";
  if (value.starts_with("--")) return "got " + value + ", which is a flag, for its value";
  if (!is_number(type) || Numbers(type).hold(value)) return "";
  return "got '" + value + "', expected " + Numbers(type).words();
}

void tighten(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    const bool shows_nothing = option->get_required() || option->get_default_str() == "[]";
    if (shows_nothing) option->default_str("");  // help names defaults; these are none
    const bool takes_value = !option->get_positional() && option->get_items_expected_max() > 0;
    if (!takes_value) continue;
    option->allow_extra_args(false);
    option->transform(
        CLI::Validator([type = option->get_type_name()](std::string& value) { return complaint(value, type); }, ""));
  }
  for (CLI::App* command : app.get_subcommands({})) tighten(*command);
}

// CLI11 would take the next word for the value of "--run-dir=".
void refuse_flags_without_value(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (word == "--") return;
    if (word.starts_with("--") && word.find('=') == word.size() - 1)
      throw CLI::ArgumentMismatch(word + " has no value");
  }
}

}  // namespace

void parse_strictly(CLI::App& app, std::vector<std::string> words) {
  tighten(app);
  refuse_flags_without_value(words);
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  app.parse(words);
}

}  // namespace shardit
