// Safetensors files as a forger makes them: whatever the header claims, its offsets fit and the bytes are there.
// Without this nearly every change of a header ends at its offsets.
#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "checkpoints/safetensors.h"
#include "checkpoints/safetensors_dtype.h"

namespace shardit {

inline constexpr int64_t kLongestForgery = 256 << 10;  // bytes of data; what claims more gets no more

// Of a tensor's entry in the header; none where it describes no tensor.
inline int64_t claimed_bytes(const nlohmann::json& fields) {
  const auto dtype = fields.find("dtype"), extents = fields.find("shape");
  if (dtype == fields.end() || !dtype->is_string() || extents == fields.end() || !extents->is_array()) return 0;
  const auto known = dtype_from_safetensors(dtype->get<std::string>());
  Shape shape;
  for (const nlohmann::json& extent : *extents) {
    if (!extent.is_number_unsigned() || extent.get<uint64_t>() > INT64_MAX || shape.rank() == Shape::kMaxRank) return 0;
    shape.push_back(extent.get<int64_t>());
  }
  return known ? std::max<int64_t>(0, bytes_of(shape, *known)) : 0;
}

// The data are those given, over and over, or zeros. What is no JSON object of the depth of a header stays as it is.
inline std::string forged_safetensors(std::string header, std::span<const uint8_t> data) {
  using Json = nlohmann::json;
  bool deep = false;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) { return !(deep = deep || depth > 3); };
  Json json = Json::parse(header, watch, false);
  int64_t end = 0;
  if (!deep && json.is_object()) {
    for (auto& [name, fields] : json.items()) {
      if (name == "__metadata__" || !fields.is_object()) continue;
      const int64_t bytes = std::min(claimed_bytes(fields), kLongestForgery - end);
      fields["data_offsets"] = {end, end + bytes};
      end += bytes;
    }
    header = json.dump();
  }
  std::string file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<char>(header.size() >> (8 * i)));
  file += header;
  for (int64_t i = 0; i < end; ++i)
    file.push_back(data.empty() ? '\0' : static_cast<char>(data[static_cast<size_t>(i) % data.size()]));
  return file;
}

}  // namespace shardit
