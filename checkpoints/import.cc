#include <glog/logging.h>

#include <cmath>
#include <set>

#include "checkpoints/listing.h"
#include "checkpoints/release.h"
#include "checkpoints/safetensors.h"
#include "checkpoints/safetensors_dtype.h"
#include "checkpoints/widen.h"
#include "core/error.h"

namespace shardit {
namespace {

constexpr std::string_view kParams = "params/";

// The constants' tolerance in a file of this dtype: half a unit in the last place of numbers up to 1, at least 1e-6.
double tolerance_of(DType stored) { return stored == DType::kBF16 ? 0x1p-9 : stored == DType::kF16 ? 0x1p-12 : 1e-6; }

void check_constant(SafetensorsReader& reader, const StoredTensor& stored, const Constant& constant) {
  const std::string where = reader.path() + ": " + constant.name;
  REQUIRE(stored.shape == constant.shape && is_floating(stored.dtype) == is_floating(constant.dtype),
          where + " is " + safetensors_name(stored.dtype) + " " + stored.shape.str() + ", the model has " +
              safetensors_name(constant.dtype) + " " + constant.shape.str());
  const double tolerance = is_floating(stored.dtype) ? tolerance_of(stored.dtype) : 0;
  std::vector<char> bytes(stored.bytes);
  reader.read(stored, 0, stored.bytes, bytes.data());
  std::vector<double> given, expected;
  widen(bytes.data(), stored.dtype, stored.shape.numel(), given);
  widen(constant.data, constant.dtype, constant.shape.numel(), expected);
  for (size_t i = 0; i < given.size(); ++i)
    REQUIRE(std::abs(given[i] - expected[i]) <= tolerance,
            where + " has " + std::to_string(given[i]) + " at element " + std::to_string(i) + ", the model computes " +
                std::to_string(expected[i]) + "\nthe file is of another model");
}

// Reads into fp32, slice by slice.
void fill(SafetensorsReader& reader, const StoredTensor& stored, const StateTensor& tensor) {
  const int64_t element = static_cast<int64_t>(size_of(stored.dtype));
  float* out = static_cast<float*>(tensor.data);
  std::vector<char> bytes;
  std::vector<double> wide;
  for_each_slice(stored.shape.numel(), [&](int64_t first, int64_t count) {
    bytes.resize(count * element);
    reader.read(stored, first * element, count * element, bytes.data());
    widen(bytes.data(), stored.dtype, count, wide);
    for (int64_t i = 0; i < count; ++i) out[first + i] = static_cast<float>(wide[i]);
  });
}

bool is_weight_dtype(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

const StoredTensor* find_weight(const SafetensorsReader& reader, const std::string& name) {
  if (const StoredTensor* stored = reader.find(name)) return stored;
  return name.starts_with(kParams) ? reader.find(name.substr(kParams.size())) : nullptr;
}

// Every name and shape, before anything is filled.
void check_names(const SafetensorsReader& reader, std::span<const StateTensor> tensors,
                 std::span<const Constant> constants) {
  std::vector<std::string> missing, different, extra;
  std::set<std::string> expected;
  for (const Constant& constant : constants) expected.insert(constant.name);
  for (const StateTensor& tensor : tensors) {
    CHECK(tensor.dtype == DType::kF32) << tensor.name << " is imported into " << name_of(tensor.dtype);
    const StoredTensor* stored = find_weight(reader, tensor.name);
    if (!stored)
      missing.push_back(tensor.name);
    else if (!(stored->shape == tensor.shape) || !is_weight_dtype(stored->dtype))
      different.push_back(stored->name + " (" + safetensors_name(stored->dtype) + " " + stored->shape.str() +
                          ", expected F32, F16 or BF16 " + tensor.shape.str() + ")");
    if (stored) expected.insert(stored->name);
  }
  for (const StoredTensor& stored : reader.tensors())
    if (!expected.count(stored.name)) extra.push_back(stored.name);
  const std::string fix = "\nthe file is of another model: use a config with its sizes";
  REQUIRE(missing.empty(), reader.path() + " lacks " + listed(missing) + fix);
  REQUIRE(different.empty(), reader.path() + " differs in " + listed(different) + fix);
  REQUIRE(extra.empty(), reader.path() + " also holds " + listed(extra) + fix);
}

}  // namespace

void import_weights(FileSystem& files, const std::string& path, std::span<const StateTensor> tensors,
                    std::span<const Constant> constants) {
  REQUIRE(files.kind(path) == PathKind::kFile, path + " is no file: expected a safetensors file of weights");
  SafetensorsReader reader(files, path);
  check_names(reader, tensors, constants);
  for (const Constant& constant : constants)
    if (const StoredTensor* stored = reader.find(constant.name)) check_constant(reader, *stored, constant);
  for (const StateTensor& tensor : tensors) fill(reader, *find_weight(reader, tensor.name), tensor);
}

}  // namespace shardit
