// The values of --set, one a line, on top of a small config.
#include <sstream>

#include "core/error.h"
#include "launcher/config.h"

using namespace shardit;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> sets;
  std::istringstream lines({data, data + size});
  for (std::string line; std::getline(lines, line);) sets.push_back(line);
  try {
    parse_config("ema { name: \"slow\" decay: 0.999 } data { kind: synthetic }", "input", sets);
  } catch (const UserError&) {}
  return 0;
}
