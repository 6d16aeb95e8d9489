// Training on one rank, for tests that are not about ranks.
#pragma once

#include "dist/world.h"
#include "launcher/trainer.h"

namespace shardit {

inline int train_alone(const RunConfig& config, const TrainOptions& options) {
  const std::unique_ptr<World> world = make_single_world();
  return train(config, options, *world);
}

}  // namespace shardit
