// A safetensors file, and every tensor that it says it holds.
#include <vector>

#include "checkpoints/safetensors.h"
#include "tests/checkpoints/faulty_files.h"

using namespace shardit;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FaultyFiles files;
  files.put("input", {data, data + size});
  try {
    SafetensorsReader reader(files, "input");
    for (const StoredTensor& tensor : reader.tensors()) {
      std::vector<char> bytes(tensor.bytes);
      reader.read(tensor.name, bytes.data());
    }
  } catch (const IoError&) {}
  return 0;
}
