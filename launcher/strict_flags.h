// What CLI11 leaves open in a command line, settled for every flag of every command: a flag takes one value, so that it
// swallows no word after it; an empty value and another flag are none; what is wrong with a number is said in our
// words.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace shardit {

// Parses `words` by the commands and flags of `app`; throws CLI::Error, also for help.
void parse_strictly(CLI::App& app, std::vector<std::string> words);

}  // namespace shardit
