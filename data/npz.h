// npz files: named numpy arrays in a zip. A sample file holds `arr_0`, uint8 images [N, height, width, channels], and
// `arr_1`, int64 labels [N], as ADM's evaluator reads; a reference file may hold `mu` and `sigma`.
// dtypes are uint8, int32, int64, fp32 and fp64; arrays are little-endian and in C order. Both ends stream.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"
#include "core/shape.h"
#include "data/zip.h"

namespace shardit {

struct NpzArray {
  std::string name;  // without ".npy"
  DType dtype = DType::kU8;
  Shape shape;
  uint64_t bytes() const { return static_cast<uint64_t>(shape.numel()) * size_of(dtype); }
};

class NpzWriter {
 public:
  // `zip64_from` is for tests, see ZipWriter.
  explicit NpzWriter(const std::string& path, uint64_t zip64_from = 0xffffffff) : zip_(path, zip64_from) {}

  void begin(const NpzArray& array);                                       // then its bytes, in one or more writes
  void write(const void* from, size_t bytes) { zip_.write(from, bytes); }  // throws IoError
  void close() { zip_.close(); }  // only now does a file stand at the path; without it nothing is left behind

 private:
  ZipWriter zip_;
};

class NpzReader {
 public:
  // Reads the directory and every array's header. Throws IoError for a file that is damaged or holds anything but
  // plain arrays.
  explicit NpzReader(const std::string& path);

  const std::vector<NpzArray>& arrays() const { return arrays_; }
  const NpzArray* find(const std::string& name) const;  // null if there is none

  // Starts at the first byte of an array; read() then takes its bytes in order, in pieces of any size. The last piece
  // is given only if the checksum holds.
  const NpzArray& open(const std::string& name);  // throws IoError if there is none
  void read(void* to, size_t bytes) { zip_.read(to, bytes); }

  // A whole array as T, which must be its dtype.
  template <typename T> std::vector<T> read_all(const std::string& name) {
    const NpzArray& array = open(name);
    if (array.dtype != DTypeOf<T>::value) wrong_dtype(array, DTypeOf<T>::value);
    std::vector<T> values(array.shape.numel());
    read(values.data(), array.bytes());
    return values;
  }

 private:
  NpzArray read_header(const ZipMember& member);
  [[noreturn]] void wrong_dtype(const NpzArray& array, DType wanted) const;

  std::string path_;
  ZipReader zip_;
  std::vector<NpzArray> arrays_;  // in the order of zip_.members()
};

}  // namespace shardit
