// Loads NCCL as a job of several ranks on GPUs does, and prints its version: 0, or 3 and why not.
#include <cstdio>

#include "core/error.h"
#include "dist/nccl_library.h"
#include "dist/nccl_version.h"

int main() {
  using namespace shardit;
  try {
    std::printf("NCCL %s\n", nccl_version_text(nccl_library().version).c_str());
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.exit_code;
  }
}
