// A config's text. What is accepted is written in full, and that text is the same config.
#include <cstdlib>

#include "core/error.h"
#include "launcher/config.h"

using namespace shardit;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text;
  try {
    text = resolved_text(parse_config({data, data + size}, "input"));
  } catch (const UserError&) {
    return 0;
  }
  if (resolved_text(parse_config(text, "again")) != text) std::abort();
  return 0;
}
