#include <glog/logging.h>

#include <algorithm>
#include <set>

#include "checkpoints/release.h"
#include "checkpoints/safetensors.h"
#include "core/error.h"

namespace shardit {
namespace {

// Something to write: a tensor of the checkpoint, or a constant.
struct Exported {
  StoredTensor stored;
  const TensorEntry* entry = nullptr;
  const void* constant = nullptr;
};

// "params" -> "params/", "ema:slow" -> "ema.slow/", "all" -> ""
std::string prefix_of(const std::string& which) {
  if (which == "all") return "";
  if (which == "params") return "params/";
  REQUIRE(which.starts_with("ema:") && which.size() > 4,
          "cannot export '" + which + "': expected params, ema:NAME or all");
  return "ema." + which.substr(4) + "/";
}

std::string groups_present(const Manifest& manifest) {
  std::set<std::string> groups;
  for (const TensorEntry& tensor : manifest.tensors) groups.insert(tensor.name.substr(0, tensor.name.find('/')));
  std::string text;
  for (const std::string& group : groups) text += (text.empty() ? "" : ", ") + group;
  return text;
}

// Wide elements first, so that every tensor starts on a multiple of its element size.
std::vector<Exported> chosen(const Checkpoint& checkpoint, const std::string& which,
                             std::span<const Constant> constants) {
  const std::string prefix = prefix_of(which);
  std::vector<Exported> chosen;
  for (const TensorEntry& tensor : checkpoint.manifest.tensors)
    if (tensor.name.starts_with(prefix))
      chosen.push_back({{tensor.name.substr(prefix.size()), tensor.dtype, tensor.shape}, &tensor, nullptr});
  REQUIRE(!chosen.empty(),
          checkpoint.path + " holds no " + which + "; it holds " + groups_present(checkpoint.manifest));
  if (which != "all")
    for (const Constant& constant : constants)
      chosen.push_back({{constant.name, constant.dtype, constant.shape}, nullptr, constant.data});
  std::stable_sort(chosen.begin(), chosen.end(), [](const Exported& a, const Exported& b) {
    return size_of(a.stored.dtype) > size_of(b.stored.dtype);
  });
  return chosen;
}

void write_entry(SafetensorsWriter& writer, CheckpointReader& reader, const Checkpoint& checkpoint,
                 const TensorEntry& tensor) {
  const int64_t element = static_cast<int64_t>(size_of(tensor.dtype)), numel = tensor.shape.numel();
  std::vector<char> buffer(std::min(numel, kSliceElements) * element);
  ChunkSum sum;
  for_each_slice(numel, [&](int64_t first, int64_t count) {
    sum += reader.read(tensor, first, count, buffer.data());
    writer.write(buffer.data(), count * element);
  });
  check_digest(checkpoint, tensor, sum);
}

Metadata metadata_of(const Checkpoint& checkpoint, const std::string& which) {
  const RunState& run = checkpoint.manifest.run;
  return {{"format", "pt"},  // what the Python libraries look for
          {"shardit.which", which},
          {"shardit.step", std::to_string(run.step)},
          {"shardit.images", std::to_string(run.images)},
          {"shardit.root_digest", checkpoint.manifest.root.hex()},
          {"shardit.config", run.config_text}};
}

void remove_if_there(FileSystem& files, const std::string& path) {
  if (files.kind(path) == PathKind::kFile) files.remove_file(path);
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

int64_t export_weights(FileSystem& files, const Checkpoint& checkpoint, const std::string& which,
                       std::span<const Constant> constants, const std::string& path) {
  const std::vector<Exported> all = chosen(checkpoint, which, constants);
  std::vector<StoredTensor> stored;
  for (const Exported& exported : all) stored.push_back(exported.stored);
  const std::string partial = path + ".partial";
  remove_if_there(files, partial);
  try {
    SafetensorsWriter writer(files, partial, std::move(stored), metadata_of(checkpoint, which));
    CheckpointReader reader(files, checkpoint);
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].entry)
        write_entry(writer, reader, checkpoint, *all[i].entry);
      else
        writer.write(all[i].constant, writer.tensors()[i].bytes);
    }
    writer.finish();
    files.rename(partial, path);
    files.sync_dir(parent_of(path));
    return writer.bytes();
  } catch (const IoError&) {
    try {
      remove_if_there(files, partial);
    } catch (const IoError& error) {
      LOG(WARNING) << error.what();
    }
    throw;
  }
}

}  // namespace shardit
