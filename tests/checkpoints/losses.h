// What the crash tests let a crash lose.
#pragma once

#include <vector>

#include "tests/checkpoints/faulty_files.h"

namespace shardit {

struct Loss {
  Survives survives;
  unsigned seed;
};

// All that was not synced, only bytes, nothing, and so many mixtures.
inline std::vector<Loss> losses(unsigned mixtures) {
  std::vector<Loss> all = {{Survives::kNothing, 0}, {Survives::kNamesOnly, 0}, {Survives::kEverything, 0}};
  for (unsigned seed = 1; seed <= mixtures; ++seed) all.push_back({Survives::kAnything, seed});
  return all;
}

}  // namespace shardit
