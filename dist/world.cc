#include "dist/world.h"

#include <numeric>

namespace shardit {

std::unique_ptr<Communicator> World::make_group(const std::string& name) {
  std::vector<int> all(static_cast<size_t>(size()));
  std::iota(all.begin(), all.end(), 0);
  return make_group(name, all);
}

}  // namespace shardit
