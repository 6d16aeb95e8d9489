// A checkpoint directory of a manifest and one file: opened, verified, and every tensor of it read.
#include <vector>

#include "checkpoints/load.h"
#include "tests/checkpoints/faulty_files.h"
#include "tests/fuzz/forge.h"
#include "tests/fuzz/two_files.h"

using namespace shardit;

namespace {

constexpr int64_t kMostElements = 1 << 20;  // of a tensor that is read: who loads has the model's shapes, and memory

void read_all(FileSystem& files, const Checkpoint& checkpoint) {
  CheckpointReader reader(files, checkpoint);
  for (const TensorEntry& tensor : checkpoint.manifest.tensors) {
    const int64_t elements = tensor.shape.numel();
    if (elements > kMostElements) continue;
    std::vector<char> bytes(elements * static_cast<int64_t>(size_of(tensor.dtype)));
    check_digest(checkpoint, tensor, reader.read(tensor, 0, elements, bytes.data()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const TwoFiles input = split(data, size);
  const std::string message(input.first.begin(), input.first.end());
  FaultyFiles files;
  files.make_dir("step");
  files.put("step/rank-00000.safetensors", {input.second.begin(), input.second.end()});
  files.put("step/manifest.pb", framed(forged(message, input.second)));
  try {
    const Checkpoint checkpoint = open_checkpoint(files, "step");
    try {
      verify_checkpoint(files, checkpoint);
    } catch (const IoError&) {}
    read_all(files, checkpoint);
  } catch (const IoError&) {}
  return 0;
}
