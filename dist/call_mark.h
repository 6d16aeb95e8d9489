// The device's side of dist/wire_calls.h.
#pragma once

#include <cstdint>

namespace shardit {

// Adds one to a number in the host's memory when the stream comes to it.
void mark_call(uint64_t* marks, void* stream);

}  // namespace shardit
