#include "checkpoints/manifest.h"

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include "checkpoints/crc32c.h"
#include "checkpoints/manifest_check.h"
#include "core/error.h"
#include "tests/checkpoints/expect_error.h"

namespace shardit {
namespace {

// One tensor of 2,048 elements in two files.
Manifest small_manifest() {
  Manifest manifest;
  manifest.run.step = 1000;
  manifest.run.images = 256000;
  manifest.run.config_text = "seed: 42\n";
  manifest.run.library_versions = {{"onednn", "2.6.3"}, {"blas", "1"}};
  manifest.run.resume_loss_bits = 0x3f800000;
  manifest.run.product_table = "entry { best_us: 5 }";
  manifest.files = {{"rank-00000.safetensors", 4196, 1}, {"rank-00001.safetensors", 4196, 2}};
  manifest.tensors = {{"params/w", DType::kF32, {2, 1024}, {{1, 2, 3}}, {{0, 100, 0, 1024}, {1, 100, 1024, 1024}}}};
  manifest.root = root_of(manifest.tensors);
  return manifest;
}

// The same bytes with the CRC made right again.
std::string resealed(std::string bytes) {
  const uint32_t crc = crc32c(bytes.data(), static_cast<int64_t>(bytes.size()) - 4);
  for (int i = 0; i < 4; ++i) bytes[bytes.size() - 4 + i] = static_cast<char>(crc >> (8 * i));
  return bytes;
}

TEST(Manifest, MakesTheRoundTrip) {
  const Manifest manifest = small_manifest();
  const std::string bytes = encode_manifest(manifest);
  const Manifest read = decode_manifest(bytes, "m");
  EXPECT_EQ(read.run.images, 256000);
  EXPECT_EQ(read.run.config_text, manifest.run.config_text);
  EXPECT_EQ(read.run.library_versions, manifest.run.library_versions);
  EXPECT_EQ(read.run.resume_loss_bits, 0x3f800000u);
  EXPECT_EQ(read.run.product_table, manifest.run.product_table);
  EXPECT_EQ(read.find("params/w")->ranges[1].first, 1024);
  EXPECT_EQ(read.find("params/x"), nullptr);
  EXPECT_EQ(read.data_bytes(), 8392);
  EXPECT_EQ(encode_manifest(read), bytes);  // equal manifests have equal bytes
}

TEST(Manifest, WritesMapsInTheOrderOfTheirKeys) {
  Manifest manifest = small_manifest();
  const std::vector<std::string> keys = {"zlib", "png", "openmpi", "nccl", "isal", "glog", "blis"};
  for (const std::string& key : keys) manifest.run.library_versions[key] = "1.0";
  const std::string bytes = encode_manifest(manifest);
  for (size_t i = 1; i < keys.size(); ++i) EXPECT_GT(bytes.find(keys[i - 1]), bytes.find(keys[i])) << keys[i];
}

TEST(Manifest, HasTheDocumentedFrame) {
  const std::string bytes = encode_manifest(small_manifest());
  EXPECT_EQ(bytes.substr(0, 8), "SHARDIT\x01");
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<uint8_t>(bytes[8 + i]);
  EXPECT_EQ(length, bytes.size() - 20);
  EXPECT_EQ(resealed(bytes), bytes);
}

TEST(Manifest, WithAnyBitFlippedIsRefused) {
  const std::string bytes = encode_manifest(small_manifest());
  for (size_t byte = 0; byte < bytes.size(); ++byte)
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[byte] ^= 1 << bit;
      EXPECT_THROW(decode_manifest(damaged, "m"), IoError) << byte;
    }
}

TEST(Manifest, CutOrLengthenedIsRefused) {
  const std::string bytes = encode_manifest(small_manifest());
  for (size_t size = 0; size < bytes.size(); ++size) EXPECT_THROW(decode_manifest(bytes.substr(0, size), "m"), IoError);
  EXPECT_HAS(error_of<IoError>([&] { decode_manifest(bytes + "x", "m"); }), "expected");
}

TEST(Manifest, OfAnotherVersionSaysSo) {
  std::string bytes = encode_manifest(small_manifest());
  ASSERT_EQ(bytes.substr(16, 2), "\x08\x01");  // field 1, varint 1
  bytes[17] = 2;
  EXPECT_HAS(error_of<IoError>([&] { decode_manifest(resealed(bytes), "m"); }),
             "format version 2, this program reads 1");
}

// Even with a right CRC, a random change of the message is refused or harmless, never a crash.
TEST(Manifest, ForgedBytesNeverCrash) {
  const std::string bytes = encode_manifest(small_manifest());
  const google::protobuf::LogSilencer quiet;  // it reports each broken text on standard error
  int refused = 0;
  for (size_t byte = 16; byte + 4 < bytes.size(); ++byte)
    for (int value : {0, 1, 0x7f, 0x80, 0xff}) {
      std::string forged = bytes;
      forged[byte] = static_cast<char>(value);
      try {
        decode_manifest(resealed(forged), "m");
      } catch (const IoError&) {
        ++refused;
      }
    }
  EXPECT_GT(refused, 100);
}

TEST(Manifest, ContradictionsAreNamed) {
  const auto wrong = [](auto change) {
    Manifest manifest = small_manifest();
    change(manifest);
    return contradiction_in(manifest);
  };
  EXPECT_EQ(wrong([](Manifest&) {}), "");
  EXPECT_HAS(wrong([](Manifest& m) { m.tensors[0].ranges.pop_back(); }), "'params/w' has 1024 of its 2048 elements");
  EXPECT_HAS(wrong([](Manifest& m) { m.tensors[0].ranges[1].first = 0; }), "from 0 where 1024 is expected");
  EXPECT_HAS(wrong([](Manifest& m) { m.tensors[0].ranges[1].file = 2; }), "in an unlisted file");
  EXPECT_HAS(wrong([](Manifest& m) { m.tensors[0].ranges[1].file_offset = 101; }), "leaves file rank-00001");
  EXPECT_HAS(wrong([](Manifest& m) { m.tensors[0].ranges[1].count = 1 << 30; }), "range of elements");
  EXPECT_HAS(wrong([](Manifest& m) { m.files[0].name = "../x"; }), "'../x' is not allowed");
  EXPECT_HAS(wrong([](Manifest& m) { m.files[1].name = m.files[0].name; }), "listed twice");
  EXPECT_HAS(wrong([](Manifest& m) { m.files[0].bytes = INT64_MAX; }), "more than 2^63 bytes");
  EXPECT_HAS(wrong([](Manifest& m) { m.tensors.push_back(m.tensors[0]); }), "listed twice or out of order");
  EXPECT_HAS(wrong([](Manifest& m) { (m.tensors.push_back(m.tensors[0]), m.tensors[1].name = "params/x"); }),
             "'params/x' shares bytes");
  EXPECT_HAS(wrong([](Manifest& m) { m.tensors[0].digest.bytes[0] ^= 1; }), "root digest");
}

}  // namespace
}  // namespace shardit
