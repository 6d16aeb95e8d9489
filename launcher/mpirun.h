// Commands that need company and were started alone start themselves under mpirun.
#pragma once

#include <string>
#include <vector>

namespace shardit {

// "mpirun … -np RANKS THIS_PROGRAM arguments". Ranks are not bound to single cores, since each has several threads;
// more ranks than cores, and a start by root, are allowed.
std::vector<std::string> mpirun_command(int ranks, const std::vector<std::string>& arguments);

// This process becomes that command: its output, its signals and its exit code. Returns only by a UserError.
[[noreturn]] void become_mpirun(int ranks, const std::vector<std::string>& arguments);

// Runs that command to its end, its standard output going nowhere. An exit code other than 0 is thrown as an Error with
// that code and no text: the job has told its error.
void run_under_mpirun(int ranks, const std::vector<std::string>& arguments);

}  // namespace shardit
