#include "checkpoints/manifest.h"

#include <glog/logging.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>

#include "checkpoints/crc32c.h"
#include "checkpoints/manifest.pb.h"
#include "checkpoints/manifest_check.h"
#include "core/error.h"

namespace shardit {
namespace {

constexpr char kMagic[] = "SHARDIT\x01";  // 8 bytes and the literal's end
constexpr size_t kFrame = 8 + 8 + 4;      // magic, length, CRC

void append_number(std::string& text, uint64_t number, int bytes) {
  for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(number >> (8 * i)));
}

uint64_t number_at(const std::string& text, size_t at, int bytes) {
  uint64_t number = 0;
  for (int i = bytes - 1; i >= 0; --i) number = number << 8 | static_cast<uint8_t>(text[at + i]);
  return number;
}

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
  throw IoError(path + " is no intact manifest: " + what + "\nan older checkpoint of the run may still be whole");
}

// --- to protobuf ---

void put_run(const RunState& run, pb::Manifest& out) {
  out.set_format_version(kManifestVersion);
  out.set_config_text(run.config_text);
  out.set_step(run.step);
  out.set_images(run.images);
  out.set_seed(run.seed);
  out.set_next_sample(run.next_sample);
  out.set_ranks(run.ranks);
  out.set_zero_stage(run.zero_stage);
  out.set_device_kind(run.device_kind);
  for (const auto& [library, version] : run.library_versions) (*out.mutable_library_versions())[library] = version;
  out.set_run_nonce(run.run_nonce);
  out.set_data_fingerprint(run.data_fingerprint);
  out.set_product_table(run.product_table);
  if (run.resume_loss_bits) out.mutable_resume_proof()->set_loss_bits(*run.resume_loss_bits);
}

void put_tensor(const TensorEntry& tensor, pb::Tensor& out) {
  out.set_name(tensor.name);
  out.set_dtype(name_of(tensor.dtype));
  for (int64_t extent : tensor.shape) out.add_shape(extent);
  out.set_digest(tensor.digest.bytes.data(), tensor.digest.bytes.size());
  for (const TensorRange& range : tensor.ranges) {
    pb::Range& to = *out.add_ranges();
    to.set_file(range.file);
    to.set_file_offset(range.file_offset);
    to.set_first(range.first);
    to.set_count(range.count);
  }
}

void put_file(const FileEntry& file, pb::File& out) {
  out.set_name(file.name);
  out.set_bytes(file.bytes);
  out.set_crc32c(file.crc32c);
}

// Equal messages have equal bytes: maps are written in the order of their keys.
std::string serialize(const pb::Manifest& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    CHECK(message.SerializeToCodedStream(&coded)) << "the manifest does not serialize";
  }
  return bytes;
}

// --- from protobuf ---

Digest get_digest(const std::string& bytes, const std::string& of, const std::string& path) {
  Digest digest;
  if (bytes.size() != digest.bytes.size()) damaged(path, "the digest of " + of + " does not have 16 bytes");
  std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
  return digest;
}

RunState get_run(const pb::Manifest& in) {
  RunState run;
  run.config_text = in.config_text();
  run.step = in.step();
  run.images = in.images();
  run.seed = in.seed();
  run.next_sample = in.next_sample();
  run.ranks = in.ranks();
  run.zero_stage = in.zero_stage();
  run.device_kind = in.device_kind();
  run.library_versions.insert(in.library_versions().begin(), in.library_versions().end());
  run.run_nonce = in.run_nonce();
  run.data_fingerprint = in.data_fingerprint();
  run.product_table = in.product_table();
  if (in.has_resume_proof()) run.resume_loss_bits = in.resume_proof().loss_bits();
  return run;
}

TensorEntry get_tensor(const pb::Tensor& in, const std::string& path) {
  TensorEntry tensor;
  tensor.name = in.name();
  tensor.digest = get_digest(in.digest(), in.name(), path);
  try {
    tensor.dtype = dtype_from_name(in.dtype());
    for (uint64_t extent : in.shape()) tensor.shape.push_back(static_cast<int64_t>(extent));
  } catch (const UserError& error) {  // unknown dtype, negative extent, too many axes
    damaged(path, "tensor '" + in.name() + "': " + error.what());
  }
  for (const pb::Range& range : in.ranges())
    tensor.ranges.push_back({static_cast<int>(range.file()), static_cast<int64_t>(range.file_offset()),
                             static_cast<int64_t>(range.first()), static_cast<int64_t>(range.count())});
  return tensor;
}

// Takes the message out of its frame.
pb::Manifest unframe(const std::string& bytes, const std::string& path) {
  if (bytes.size() < kFrame || bytes.compare(0, 8, kMagic, 8) != 0) damaged(path, "it does not begin like one");
  const uint64_t length = number_at(bytes, 8, 8);
  if (length != bytes.size() - kFrame)
    damaged(path, "it has " + std::to_string(bytes.size()) + " bytes, expected " + std::to_string(length) + " and " +
                      std::to_string(kFrame));
  if (crc32c(bytes.data(), bytes.size() - 4) != number_at(bytes, bytes.size() - 4, 4))
    damaged(path, "its CRC32C does not match");
  pb::Manifest message;
  if (!message.ParseFromArray(bytes.data() + 16, static_cast<int>(length))) damaged(path, "it is no protobuf message");
  return message;
}

}  // namespace

const TensorEntry* Manifest::find(const std::string& name) const {
  const auto found =
      std::lower_bound(tensors.begin(), tensors.end(), name,
                       [](const TensorEntry& tensor, const std::string& key) { return tensor.name < key; });
  return found != tensors.end() && found->name == name ? &*found : nullptr;
}

int64_t Manifest::data_bytes() const {
  int64_t total = 0;
  for (const FileEntry& file : files) total += file.bytes;
  return total;
}

Digest root_of(const std::vector<TensorEntry>& tensors) {
  std::map<std::string, Digest> digests;
  for (const TensorEntry& tensor : tensors) digests[tensor.name] = tensor.digest;
  return root_digest(digests);
}

std::string encode_manifest(const Manifest& manifest) {
  const std::string wrong = contradiction_in(manifest);
  CHECK(wrong.empty()) << "manifest of step " << manifest.run.step << ": " << wrong;
  pb::Manifest message;
  put_run(manifest.run, message);
  for (const TensorEntry& tensor : manifest.tensors) put_tensor(tensor, *message.add_tensors());
  for (const FileEntry& file : manifest.files) put_file(file, *message.add_files());
  message.set_root_digest(manifest.root.bytes.data(), manifest.root.bytes.size());
  const std::string payload = serialize(message);
  std::string bytes(kMagic, 8);
  append_number(bytes, payload.size(), 8);
  bytes += payload;
  append_number(bytes, crc32c(bytes.data(), bytes.size()), 4);
  return bytes;
}

Manifest decode_manifest(const std::string& bytes, const std::string& path) {
  const pb::Manifest message = unframe(bytes, path);
  if (message.format_version() != kManifestVersion)
    throw IoError(path + " has format version " + std::to_string(message.format_version()) + ", this program reads " +
                  std::to_string(kManifestVersion) +
                  "\nuse the program that wrote it, or export there and import here");
  Manifest manifest;
  manifest.run = get_run(message);
  for (const pb::Tensor& tensor : message.tensors()) manifest.tensors.push_back(get_tensor(tensor, path));
  for (const pb::File& file : message.files())
    manifest.files.push_back({file.name(), static_cast<int64_t>(file.bytes()), file.crc32c()});
  manifest.root = get_digest(message.root_digest(), "the root", path);
  const std::string wrong = contradiction_in(manifest);
  if (!wrong.empty()) damaged(path, wrong);
  return manifest;
}

}  // namespace shardit
