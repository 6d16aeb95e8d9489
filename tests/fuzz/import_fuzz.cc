// Weights of another program, taken into a model that has four tensors and one constant.
#include <vector>

#include "checkpoints/release.h"
#include "tests/checkpoints/faulty_files.h"

using namespace shardit;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FaultyFiles files;
  files.put("input", {data, data + size});
  std::vector<float> matrix(6), vector(3), scalar(1);
  const std::vector<StateTensor> tensors = {{"params/matrix", DType::kF32, {2, 3}, matrix.data()},
                                            {"params/vector", DType::kF32, {3}, vector.data()},
                                            {"params/scalar", DType::kF32, {}, scalar.data()},
                                            {"params/empty", DType::kF32, {0, 4}, nullptr}};
  const std::vector<int64_t> index = {2, 0, 1};
  const std::vector<Constant> constants = {{"index", DType::kI64, {3}, index.data()}};
  try {
    import_weights(files, "input", tensors, constants);
  } catch (const UserError&) {
  } catch (const IoError&) {}
  return 0;
}
