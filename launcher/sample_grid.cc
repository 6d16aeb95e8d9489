#include "launcher/sample_grid.h"

#include <algorithm>
#include <vector>

#include "data/grid.h"
#include "data/png.h"
#include "launcher/sampling.h"
#include "launcher/signals.h"

namespace shardit {

int64_t write_sample_grid(const std::string& path, int64_t images, Program& program, const RunSetup& setup,
                          const SamplingSetup& sampling, const SamplingPlan& plan, Ranks& ranks) {
  const int64_t columns = std::min<int64_t>(setup.model.num_classes, 10), rows = std::max<int64_t>(1, images / columns);
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < rows * columns; ++i) labels.push_back(i % columns);
  const SampledImages drawn = draw_all_images(program, setup, sampling, plan, labels, 0, ranks,
                                              [](int64_t, int64_t) { return !stop_requested(); });
  if (drawn.count == 0) return 0;
  ranks.on_first("sample", [&] {
    write_png(path, make_grid(drawn.pixels.data(), drawn.count, drawn.height, drawn.width, drawn.channels,
                              {.columns = columns}));
  });
  return drawn.count;
}

}  // namespace shardit
