#include "launcher/threads.h"

#include <cstdlib>
#include <string>

#include "core/error.h"
#include "launcher/machine.h"

namespace shardit {

int compute_threads() {
  const char* set = std::getenv("OMP_NUM_THREADS");
  if (!set || !*set) return look_at_machine(".").cores;
  char* end = nullptr;
  const long threads = std::strtol(set, &end, 10);
  REQUIRE(*end == '\0' && threads >= 1 && threads <= 4096,
          std::string("OMP_NUM_THREADS is '") + set + "', expected a number of threads, 1 or more");
  return static_cast<int>(threads);
}

}  // namespace shardit
