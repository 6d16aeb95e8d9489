// `shardit bench data`: how fast the data of a config becomes micro-batches, without training on them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/metrics.h"
#include "launcher/run_config.pb.h"

namespace shardit {

struct DataBenchOptions {
  std::vector<int> threads;  // loader threads to try, in this order
  double seconds = 3;        // that each is measured, after a while that is not counted
};

struct DataRate {
  int threads = 1;
  double images_per_s = 0;
};

// Microseconds that one thread spends on an image, on average.
struct ImageParts {
  int64_t images = 0;  // measured
  double read_us = 0;  // bytes from file or tar: page cache or disk
  double decode_us = 0, crop_us = 0, mirror_us = 0;
};

struct DataReport {
  std::string data;
  int64_t images = 0, side = 0, micro_batch_images = 0;
  std::vector<DataRate> rates;
  std::optional<ImageParts> parts;  // of image files
};

DataReport measure_data(const RunConfig& config, const DataBenchOptions& options);
Json to_json(const DataReport& report);

}  // namespace shardit
