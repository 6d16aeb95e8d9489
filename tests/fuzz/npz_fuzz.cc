// An npz file, and every array that it says it holds.
#include "data/npz.h"
#include "tests/fuzz/memory_file.h"

using namespace shardit;

namespace {

void read_all(NpzReader& npz, const NpzArray& array) {
  switch (array.dtype) {
    case DType::kU8:
      return void(npz.read_all<uint8_t>(array.name));
    case DType::kI32:
      return void(npz.read_all<int32_t>(array.name));
    case DType::kI64:
      return void(npz.read_all<int64_t>(array.name));
    case DType::kF32:
      return void(npz.read_all<float>(array.name));
    case DType::kF64:
      return void(npz.read_all<double>(array.name));
    default:
      std::abort();  // npz has no other
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static MemoryFile file;
  file.hold({data, size});
  try {
    NpzReader npz(file.path());
    for (const NpzArray& array : npz.arrays()) read_all(npz, array);
  } catch (const IoError&) {}
  return 0;
}
