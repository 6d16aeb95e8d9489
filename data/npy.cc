#include "data/npy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <regex>

#include <glog/logging.h>

#include "core/error.h"

namespace shardit {
namespace {

struct Descr {
  DType dtype;
  const char* text;
};
constexpr Descr kDescrs[] = {
    {DType::kU8, "|u1"}, {DType::kI32, "<i4"}, {DType::kI64, "<i8"}, {DType::kF32, "<f4"}, {DType::kF64, "<f8"}};
constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicBytes = 6, kAlignment = 64, kLongest = 4096;

[[noreturn]] void refuse(const std::string& what, const std::string& found, const std::string& expected) {
  throw IoError(what + " " + found.substr(0, 160) + ": expected " + expected);
}

DType dtype_of(const std::string& descr, const std::string& what) {
  for (const Descr& d : kDescrs)
    if (descr == d.text) return d.dtype;
  refuse(what, "has element type '" + descr + "'", "|u1, <i4, <i8, <f4 or <f8 (uint8, int32, int64, float32, float64)");
}

Shape shape_of(const std::string& tuple, const std::string& what) {
  Shape shape;
  for (const char* at = tuple.c_str(); *at;) {
    if (*at < '0' || *at > '9') {
      ++at;
      continue;
    }
    if (shape.rank() == Shape::kMaxRank) refuse(what, "has shape (" + tuple + ")", "at most 8 extents");
    char* end = nullptr;
    shape.push_back(std::strtoll(at, &end, 10));
    at = end;
  }
  return shape;
}

}  // namespace

std::string npy_header(const NpyHeader& header) {
  const Descr* descr =
      std::find_if(std::begin(kDescrs), std::end(kDescrs), [&](const Descr& d) { return d.dtype == header.dtype; });
  CHECK(descr != std::end(kDescrs)) << "npy has no " << name_of(header.dtype);
  std::string extents;
  for (int64_t extent : header.shape) extents += std::to_string(extent) + (header.shape.rank() == 1 ? "," : ", ");
  if (header.shape.rank() > 1) extents.resize(extents.size() - 2);
  std::string dict =
      "{'descr': '" + std::string(descr->text) + "', 'fortran_order': False, 'shape': (" + extents + "), }";
  const size_t before = kMagicBytes + 4;  // magic, version, length
  dict.append(kAlignment - (before + dict.size() + 1) % kAlignment, ' ');
  dict += '\n';
  const char prefix[] = {1, 0, static_cast<char>(dict.size() & 0xff), static_cast<char>(dict.size() >> 8)};
  return std::string(kMagic, kMagicBytes) + std::string(prefix, sizeof prefix) + dict;
}

NpyHeader read_npy_header(const std::function<void(void* to, size_t bytes)>& read, const std::string& what) {
  uint8_t start[kMagicBytes + 2], length[4] = {};
  read(start, sizeof start);
  if (std::memcmp(start, kMagic, kMagicBytes) != 0) refuse(what, "does not begin with \\x93NUMPY", "a npy array");
  const int version = start[kMagicBytes];
  if (version != 1 && version != 2) refuse(what, "is npy version " + std::to_string(version), "version 1 or 2");
  read(length, version == 1 ? 2 : 4);
  const size_t bytes = length[0] | length[1] << 8 | length[2] << 16 | static_cast<size_t>(length[3]) << 24;
  if (bytes > kLongest) refuse(what, "has a header of " + std::to_string(bytes) + " bytes", "at most 4096");
  std::string dict(bytes, ' ');
  read(dict.data(), bytes);
  dict.resize(dict.find_last_not_of(" \n") + 1);

  static const std::regex pattern(
      R"(\{'descr': '([^']*)', 'fortran_order': (True|False), 'shape': \(((?:\d{1,15}, ?)*(?:\d{1,15})?)\),? ?\})");
  std::smatch match;
  if (!std::regex_match(dict, match, pattern)) refuse(what, "has the header " + dict, "a plain array in C order");
  if (match[2] == "True") refuse(what, "is in Fortran order", "C order: numpy.ascontiguousarray makes it so");
  return {dtype_of(match[1], what), shape_of(match[3], what)};
}

}  // namespace shardit
