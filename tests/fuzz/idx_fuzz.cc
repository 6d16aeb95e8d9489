// The two files of an IDX dataset, plain or gzipped, and every image in them.
#include <vector>

#include "core/error.h"
#include "data/idx.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/two_files.h"

using namespace shardit;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static MemoryFile images, labels;
  const TwoFiles input = split(data, size);
  images.hold(input.first);
  labels.hold(input.second);
  try {
    const auto dataset = open_idx_files(images.path(), labels.path(), "input", 0);
    std::vector<uint8_t> pixels(dataset->image_bytes());
    for (int64_t i = 0; i < dataset->size(); ++i) {
      int64_t label = -1;
      dataset->read(i, pixels.data(), &label);
      if (label < 0 || label >= dataset->classes()) std::abort();
    }
  } catch (const UserError&) {
  } catch (const IoError&) {}
  return 0;
}
