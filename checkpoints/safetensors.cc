#include "checkpoints/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoints/safetensors_dtype.h"

namespace shardit {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLongestHeader = 100'000'000;  // bytes; the limit of the format's own library
constexpr int kDeepest = 3;                      // the numbers in a list in a tensor in the header

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
  throw IoError(path + " is no intact safetensors file: " + what + "\nit is truncated, damaged or of another format");
}

[[noreturn]] void damaged(const std::string& path, const std::string& tensor, const std::string& what) {
  damaged(path, "tensor '" + tensor + "' " + what);
}

// Parses the header. JSON itself allows an object to name a key twice and readers to pick either: not here.
Json parse_header(const std::string& path, const std::string& text) {
  std::vector<std::set<std::string>> seen;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) seen.emplace_back();
    if (event == Json::parse_event_t::object_end) seen.pop_back();
    if (event == Json::parse_event_t::key && !seen.back().insert(value.get<std::string>()).second)
      damaged(path, "the header has the name '" + value.get<std::string>() + "' twice");
    if (depth > kDeepest) damaged(path, "the header is nested too deeply");
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& error) {
    damaged(path, std::string("the header is no JSON: ") + error.what());
  }
}

std::string read_header(const std::string& path, InputFile& file) {
  const int64_t size = file.size();
  if (size < 8) damaged(path, "it has " + std::to_string(size) + " bytes, the header's length alone needs 8");
  uint8_t prefix[8];
  file.read(0, prefix, 8);
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | prefix[i];
  if (length > static_cast<uint64_t>(std::min(kLongestHeader, size - 8)))
    damaged(path, "the header claims " + std::to_string(length) + " bytes, the file has " + std::to_string(size));
  std::string text(length, '\0');
  file.read(8, text.data(), static_cast<int64_t>(length));
  return text;
}

std::map<std::string, std::string> parse_metadata(const std::string& path, const Json& json) {
  if (!json.is_object()) damaged(path, "__metadata__ is no object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) damaged(path, "__metadata__ '" + key + "' is no text");
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

std::vector<int64_t> parse_numbers(const std::string& path, const std::string& name, const Json& fields,
                                   const char* key) {
  const auto found = fields.find(key);
  if (found == fields.end() || !found->is_array()) damaged(path, name, std::string("has no list '") + key + "'");
  std::vector<int64_t> numbers;
  for (const Json& number : *found) {
    if (!number.is_number_unsigned() || number.get<uint64_t>() > INT64_MAX)
      damaged(path, name, std::string("has a number in '") + key + "' that is no size: " + number.dump());
    numbers.push_back(number.get<int64_t>());
  }
  return numbers;
}

DType parse_dtype(const std::string& path, const std::string& name, const Json& fields) {
  const auto found = fields.find("dtype");
  if (found == fields.end() || !found->is_string()) damaged(path, name, "has no dtype");
  const std::optional<DType> dtype = dtype_from_safetensors(found->get<std::string>());
  if (!dtype)
    throw IoError(path + ": tensor '" + name + "' has dtype " + found->get<std::string>() +
                  ", expected F32, BF16, F16, F64, I32, I64 or U8");
  return *dtype;
}

StoredTensor parse_tensor(const std::string& path, const std::string& name, const Json& fields, int64_t data_start,
                          int64_t file_bytes) {
  if (!fields.is_object()) damaged(path, name, "is no object in the header");
  const std::vector<int64_t> extents = parse_numbers(path, name, fields, "shape");
  const std::vector<int64_t> ends = parse_numbers(path, name, fields, "data_offsets");
  if (extents.size() > Shape::kMaxRank) damaged(path, name, "has " + std::to_string(extents.size()) + " axes");
  StoredTensor tensor{name, parse_dtype(path, name, fields), Shape(extents.begin(), extents.end())};
  if (ends.size() != 2 || ends[0] > ends[1] || ends[1] > file_bytes - data_start)
    damaged(path, name,
            "has data_offsets " + fields["data_offsets"].dump() + ", the file holds data up to " +
                std::to_string(file_bytes - data_start));
  tensor.offset = data_start + ends[0];
  tensor.bytes = ends[1] - ends[0];
  if (tensor.bytes != bytes_of(tensor.shape, tensor.dtype))
    damaged(path, name,
            "has " + std::to_string(tensor.bytes) + " bytes at offset " + std::to_string(tensor.offset) + ", " +
                safetensors_name(tensor.dtype) + " " + tensor.shape.str() + " needs another number");
  return tensor;
}

// The data must be covered exactly: an overlap or a hole is the sign of damage, or of hidden bytes.
void check_coverage(const std::string& path, const std::vector<StoredTensor>& tensors, int64_t data_start,
                    int64_t file_bytes) {
  int64_t end = data_start;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.offset != end)
      damaged(path, tensor.name,
              std::string(tensor.offset < end ? "overlaps another" : "follows a hole") + ": it starts at offset " +
                  std::to_string(tensor.offset) + ", expected " + std::to_string(end));
    end = tensor.offset + tensor.bytes;
  }
  if (end != file_bytes)
    damaged(path, "its tensors end at offset " + std::to_string(end) + ", the file at " + std::to_string(file_bytes));
}

}  // namespace

int64_t bytes_of(const Shape& shape, DType dtype) {
  int64_t bytes = static_cast<int64_t>(size_of(dtype));
  for (int64_t extent : shape)
    if (__builtin_mul_overflow(bytes, extent, &bytes)) return -1;
  return bytes;
}

SafetensorsReader::SafetensorsReader(FileSystem& files, const std::string& path)
    : path_(path),
      file_(files.open(path)) {
  const std::string text = read_header(path, *file_);
  const Json header = parse_header(path, text);
  if (!header.is_object()) damaged(path, "the header is no JSON object");
  const int64_t data_start = 8 + static_cast<int64_t>(text.size());
  for (const auto& [name, fields] : header.items()) {
    if (name == "__metadata__")
      metadata_ = parse_metadata(path, fields);
    else
      tensors_.push_back(parse_tensor(path, name, fields, data_start, file_->size()));
  }
  std::sort(tensors_.begin(), tensors_.end(), [](const StoredTensor& a, const StoredTensor& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);  // empty ones first
  });
  check_coverage(path, tensors_, data_start, file_->size());
  for (size_t i = 0; i < tensors_.size(); ++i) index_[tensors_[i].name] = i;
}

const StoredTensor* SafetensorsReader::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void SafetensorsReader::read(const std::string& name, void* dst) {
  const StoredTensor* tensor = find(name);
  if (!tensor) throw IoError(path_ + " has no tensor '" + name + "'");
  read(*tensor, 0, tensor->bytes, dst);
}

void SafetensorsReader::read(const StoredTensor& tensor, int64_t first_byte, int64_t bytes, void* dst) {
  file_->read(tensor.offset + first_byte, dst, bytes);
}

}  // namespace shardit
