#include <glog/logging.h>

#include <nlohmann/json.hpp>
#include <set>

#include "checkpoints/crc32c.h"
#include "checkpoints/safetensors.h"
#include "checkpoints/safetensors_dtype.h"

namespace shardit {
namespace {

constexpr int64_t kWorthAThread = 128 << 10;  // bytes: below, waking one takes longer than summing up

void append_length(std::string& text, uint64_t length) {
  for (int i = 0; i < 8; ++i) text.push_back(static_cast<char>(length >> (8 * i)));
}

int64_t end_of(const std::vector<StoredTensor>& tensors, int64_t header_bytes) {
  return tensors.empty() ? header_bytes : tensors.back().offset + tensors.back().bytes;
}

}  // namespace

std::string safetensors_header(std::vector<StoredTensor>& tensors, const Metadata& metadata) {
  std::set<std::string> names;
  nlohmann::ordered_json::object_t header;  // a vector of pairs: appended to, never searched
  if (!metadata.empty()) header.emplace_back("__metadata__", metadata);
  int64_t end = 0;
  for (StoredTensor& tensor : tensors) {
    CHECK(names.insert(tensor.name).second) << "two tensors are named " << tensor.name;
    tensor.bytes = bytes_of(tensor.shape, tensor.dtype);
    tensor.offset = end;
    end += tensor.bytes;
    nlohmann::ordered_json fields;
    fields["dtype"] = safetensors_name(tensor.dtype);
    fields["shape"] = std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end());
    fields["data_offsets"] = {tensor.offset, end};
    header.emplace_back(tensor.name, std::move(fields));
  }
  std::string json = nlohmann::ordered_json(std::move(header)).dump();
  while (json.size() % 8 != 0) json.push_back(' ');
  std::string bytes;
  append_length(bytes, json.size());
  bytes += json;
  for (StoredTensor& tensor : tensors) tensor.offset += static_cast<int64_t>(bytes.size());
  return bytes;
}

SafetensorsWriter::SafetensorsWriter(FileSystem& files, const std::string& path, std::vector<StoredTensor> tensors,
                                     const Metadata& metadata)
    : tensors_(std::move(tensors)) {
  const std::string header = safetensors_header(tensors_, metadata);
  file_ = files.create(path);
  write(header.data(), static_cast<int64_t>(header.size()));
}

void SafetensorsWriter::write(const void* data, int64_t bytes, const std::function<void()>& meanwhile) {
  const auto sum_up = [&] {
    crc_ = shardit::crc32c(data, bytes, crc_);
    if (meanwhile) meanwhile();
  };
  const auto write_or_sum = [&](int64_t tile, int) { tile == 0 ? file_->write(data, bytes) : sum_up(); };
  if (bytes >= kWorthAThread)
    pool_.run(2, write_or_sum);
  else
    for (int tile : {0, 1}) write_or_sum(tile, 0);
  bytes_ += bytes;
}

void SafetensorsWriter::finish() {
  CHECK_EQ(bytes_, end_of(tensors_, bytes_)) << "the tensors' bytes are not those that the header declares";
  file_->sync();
  file_->close();
}

}  // namespace shardit
