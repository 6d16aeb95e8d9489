#include "checkpoints/inspect.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

namespace shardit {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kFilesShown = 8;

// "params", "adam.m", "ema.slow"
std::string group_of(const std::string& name) { return name.substr(0, name.find('/')); }

struct Group {
  int64_t tensors = 0, elements = 0, bytes = 0;
};

std::map<std::string, Group> groups_of(const Manifest& manifest) {
  std::map<std::string, Group> groups;
  for (const TensorEntry& tensor : manifest.tensors) {
    Group& group = groups[group_of(tensor.name)];
    const int64_t elements = tensor.shape.numel();
    ++group.tensors;
    group.elements += elements;
    group.bytes += elements * static_cast<int64_t>(size_of(tensor.dtype));
  }
  return groups;
}

std::string hex(uint32_t number) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", number);
  return text;
}

std::string row(const std::string& key, const std::string& value) {
  return key + std::string(key.size() < 14 ? 14 - key.size() : 1, ' ') + value + "\n";
}

// How the bytes are shared out, and the first of the files.
std::string files_text(const Manifest& manifest, size_t shown) {
  const std::vector<FileEntry>& files = manifest.files;
  std::string count = std::to_string(files.size()) + ", " + std::to_string(manifest.data_bytes()) + " bytes";
  if (files.size() > 1) {
    const auto [least, most] = std::minmax_element(
        files.begin(), files.end(), [](const FileEntry& a, const FileEntry& b) { return a.bytes < b.bytes; });
    count += ", " + std::to_string(least->bytes) + " to " + std::to_string(most->bytes) + " each";
  }
  std::string text = row("files", count);
  for (size_t i = 0; i < std::min(shown, files.size()); ++i)
    text +=
        row("file", files[i].name + "  " + std::to_string(files[i].bytes) + " bytes  crc32c " + hex(files[i].crc32c));
  if (files.size() > shown) text += row("file", std::to_string(files.size() - shown) + " more, shown by --tensors");
  return text;
}

std::string tensor_text(const Manifest& manifest, const TensorEntry& tensor) {
  std::string text =
      tensor.name + "  " + name_of(tensor.dtype) + " " + tensor.shape.str() + "  " + tensor.digest.hex() + "\n";
  for (const TensorRange& range : tensor.ranges)
    text += "    [" + std::to_string(range.first) + ", " + std::to_string(range.first + range.count) + ")  " +
            manifest.files[range.file].name + " at " + std::to_string(range.file_offset) + "\n";
  return text;
}

std::string indented(const std::string& text) {
  std::string result = "  ";
  for (size_t i = 0; i < text.size(); ++i) {
    result += text[i];
    if (text[i] == '\n' && i + 1 < text.size()) result += "  ";
  }
  return result + (text.ends_with('\n') ? "" : "\n");
}

Json tensor_json(const Manifest& manifest, const TensorEntry& tensor) {
  Json ranges = Json::array();
  for (const TensorRange& range : tensor.ranges)
    ranges.push_back({{"file", manifest.files[range.file].name},
                      {"offset_bytes", range.file_offset},
                      {"first_element", range.first},
                      {"elements", range.count}});
  return {{"name", tensor.name},
          {"dtype", name_of(tensor.dtype)},
          {"shape", std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end())},
          {"digest", tensor.digest.hex()},
          {"ranges", std::move(ranges)}};
}

Json run_json(const RunState& run) {
  Json json = {{"step", run.step},
               {"images", run.images},
               {"seed", run.seed},
               {"next_sample", run.next_sample},
               {"ranks", run.ranks},
               {"zero_stage", run.zero_stage},
               {"device_kind", run.device_kind},
               {"library_versions", run.library_versions},
               {"run_nonce", run.run_nonce},
               {"data_fingerprint", run.data_fingerprint}};
  if (run.resume_loss_bits) json["resume_loss_bits"] = hex(*run.resume_loss_bits);
  return json;
}

}  // namespace

std::string describe_text(const Checkpoint& checkpoint, bool with_tensors) {
  const Manifest& manifest = checkpoint.manifest;
  const RunState& run = manifest.run;
  std::string text = row("checkpoint", checkpoint.path);
  text += row("step", std::to_string(run.step) + ", " + std::to_string(run.images) + " images");
  text += row("seed", std::to_string(run.seed) + ", next sample " + std::to_string(run.next_sample));
  text += row("written by", std::to_string(run.ranks) + (run.ranks == 1 ? " rank" : " ranks") + " at zero_stage " +
                                std::to_string(run.zero_stage) + " on " +
                                (run.device_kind.empty() ? "an unnamed device" : run.device_kind));
  for (const auto& [library, version] : run.library_versions) text += row("library", library + " " + version);
  text += row("resume proof", run.resume_loss_bits ? "loss bits " + hex(*run.resume_loss_bits) : "none");
  for (const auto& [name, group] : groups_of(manifest))
    text += row("state", name + ": " + std::to_string(group.tensors) + " tensors, " + std::to_string(group.elements) +
                             " elements, " + std::to_string(group.bytes) + " bytes");
  text += files_text(manifest, with_tensors ? manifest.files.size() : kFilesShown);
  text += row("root digest", manifest.root.hex());
  if (!run.config_text.empty()) text += "config\n" + indented(run.config_text);
  if (with_tensors)
    for (const TensorEntry& tensor : manifest.tensors) text += tensor_text(manifest, tensor);
  return text;
}

std::string describe_json(const Checkpoint& checkpoint) {
  const Manifest& manifest = checkpoint.manifest;
  Json json = {{"path", checkpoint.path}};
  json.update(run_json(manifest.run));
  json["parameters"] = groups_of(manifest)["params"].elements;
  json["bytes"] = manifest.data_bytes();
  json["root_digest"] = manifest.root.hex();
  json["files"] = Json::array();
  for (const FileEntry& file : manifest.files)
    json["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"crc32c", hex(file.crc32c)}});
  json["tensors"] = Json::array();
  for (const TensorEntry& tensor : manifest.tensors) json["tensors"].push_back(tensor_json(manifest, tensor));
  json["config"] = manifest.run.config_text;
  // A folder may have any name; JSON is UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string digest_json(const Checkpoint& checkpoint) {
  return Json{{"digest", checkpoint.manifest.root.hex()}}.dump() + "\n";
}

std::string digest_line(const Checkpoint& checkpoint) { return "digest " + checkpoint.manifest.root.hex() + "\n"; }

}  // namespace shardit
