#include "launcher/threads.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "launcher/machine.h"

namespace shardit {

int compute_threads(int local_ranks) {
  const char* set = std::getenv("OMP_NUM_THREADS");
  if (!set || !*set) return std::max(1, look_at_machine(".").cores / local_ranks);
  char* end = nullptr;
  const long threads = std::strtol(set, &end, 10);
  REQUIRE(*end == '\0' && threads >= 1 && threads <= 4096,
          std::string("OMP_NUM_THREADS is '") + set + "', expected a number of threads, 1 or more");
  return static_cast<int>(threads);
}

}  // namespace shardit
