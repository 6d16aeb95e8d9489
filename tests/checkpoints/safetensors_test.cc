#include "checkpoints/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "checkpoints/crc32c.h"
#include "tests/checkpoints/expect_error.h"
#include "tests/checkpoints/faulty_files.h"

namespace shardit {
namespace {

// A file with this header text and that many zero bytes after it.
std::string file_of(const std::string& header, int64_t data_bytes) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(header.size() >> (8 * i)));
  return bytes + header + std::string(data_bytes, '\0');
}

// JSON text in braces. (`"{" + text + "}"` meets a false -Wrestrict of gcc 12.)
std::string braces(const std::string& inside) {
  std::string text = "{";
  return text.append(inside).append("}");
}

// The IoError of opening a file of these bytes.
std::string refusal(const std::string& bytes) {
  FaultyFiles files;
  files.put("f", bytes);
  return error_of<IoError>([&] { SafetensorsReader reader(files, "f"); });
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape, int64_t begin,
                   int64_t end) {
  return std::string("\"") + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

// Pieces small enough to be summed up after their writing, and large enough to be summed up meanwhile.
TEST(Safetensors, EveryByteIsSummedUpWhateverThePieces) {
  std::string data(1 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * i >> 7);
  for (int64_t piece : {1 << 10, 100 << 10, 128 << 10, 300 << 10, 1 << 20}) {
    FaultyFiles files;
    SafetensorsWriter writer(files, "f", {{"x", DType::kU8, {std::ssize(data)}}}, {});
    int64_t pieces = 0;
    for (int64_t at = 0; at < std::ssize(data); at += piece)
      writer.write(data.data() + at, std::min(piece, std::ssize(data) - at), [&] { ++pieces; });
    writer.finish();
    EXPECT_EQ(pieces, (std::ssize(data) + piece - 1) / piece);
    EXPECT_EQ(files.bytes("f").substr(files.bytes("f").size() - data.size()), data);
    EXPECT_EQ(writer.crc32c(), crc32c(files.bytes("f").data(), writer.bytes())) << piece;
  }
}

TEST(Safetensors, AFailedWriteIsToldWhoeverMadeIt) {
  for (int64_t piece : {1 << 10, 1 << 20}) {
    FaultyFiles files;
    const std::string data(static_cast<size_t>(piece), 'x');
    SafetensorsWriter writer(files, "f", {{"x", DType::kU8, {piece}}}, {});
    files.fail_at(1, ENOSPC);
    EXPECT_NE(error_of<IoError>([&] { writer.write(data.data(), piece, [] {}); }).find("No space left"),
              std::string::npos);
  }
}

TEST(Safetensors, EveryDtypeMakesTheRoundTrip) {
  FaultyFiles files;
  std::vector<StoredTensor> tensors;
  for (DType dtype : {DType::kF64, DType::kI64, DType::kF32, DType::kI32, DType::kBF16, DType::kF16, DType::kU8})
    tensors.push_back({name_of(dtype), dtype, {2, 3}});
  SafetensorsWriter writer(files, "f", tensors, {{"key", "text \"quoted\""}});
  std::string data;
  for (int i = 0; i < (8 + 8 + 4 + 4 + 2 + 2 + 1) * 6; ++i) data.push_back(static_cast<char>(i));
  writer.write(data.data(), static_cast<int64_t>(data.size()));
  writer.finish();
  EXPECT_EQ(writer.bytes(), static_cast<int64_t>(files.bytes("f").size()));
  EXPECT_EQ(writer.crc32c(), crc32c(files.bytes("f").data(), writer.bytes()));

  SafetensorsReader reader(files, "f");
  EXPECT_EQ(reader.metadata().at("key"), "text \"quoted\"");
  std::string read_back(data.size(), '\0');
  int64_t at = 0;
  for (const StoredTensor& stored : reader.tensors()) {
    EXPECT_EQ(name_of(stored.dtype), stored.name);
    EXPECT_EQ(stored.offset % static_cast<int64_t>(size_of(stored.dtype)), 0);
    reader.read(stored.name, read_back.data() + at);
    at += stored.bytes;
  }
  EXPECT_EQ(read_back, data);
}

TEST(Safetensors, TheHeaderIsTheDocumentedText) {
  std::vector<StoredTensor> tensors = {{"b", DType::kF32, {2}}, {"a", DType::kU8, {}}};
  const std::string header = safetensors_header(tensors, {});
  const std::string json = R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                           R"("a":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})";
  EXPECT_EQ(header.substr(8, json.size()), json);
  EXPECT_EQ(header.size() % 8, 0u);
  EXPECT_EQ(header.find_first_not_of(' ', 8 + json.size()), std::string::npos);
  EXPECT_EQ(tensors[1].offset, static_cast<int64_t>(header.size()) + 8);
}

TEST(Safetensors, AnyPartOfATensorCanBeRead) {
  FaultyFiles files;
  files.put("f", file_of(braces(tensor("t", "U8", "[4]", 0, 4)), 0) + "wxyz");
  SafetensorsReader reader(files, "f");
  char part[3] = {};
  reader.read(*reader.find("t"), 1, 2, part);
  EXPECT_STREQ(part, "xy");
  EXPECT_EQ(reader.find("u"), nullptr);
  EXPECT_HAS(error_of<IoError>([&] { reader.read("u", part); }), "no tensor 'u'");
}

TEST(Safetensors, TensorsOutOfOrderAndEmptyOnesAreFine) {
  FaultyFiles files;
  files.put("f", file_of(braces(tensor("z", "F32", "[1]", 4, 8) + "," + tensor("e", "F32", "[0,7]", 4, 4) + "," +
                                tensor("a", "F32", "[]", 0, 4)),
                         8));
  SafetensorsReader reader(files, "f");
  EXPECT_EQ(reader.tensors()[0].name, "a");
  EXPECT_EQ(reader.find("e")->bytes, 0);
}

TEST(Safetensors, JunkIsRefused) {
  EXPECT_HAS(refusal(""), "it has 0 bytes");
  EXPECT_HAS(refusal("1234567"), "it has 7 bytes");
  EXPECT_HAS(refusal(std::string(100, 'x')), "the header claims");
  EXPECT_HAS(refusal(file_of("no json", 0)), "the header is no JSON");
  EXPECT_HAS(refusal(file_of("[1]", 0)), "the header is no JSON object");
  EXPECT_HAS(refusal(file_of("{} x", 0)), "the header is no JSON");
  EXPECT_HAS(refusal(file_of("{\"\xff\":1}", 0)), "the header is no JSON");
}

TEST(Safetensors, ALyingHeaderLengthIsRefused) {
  std::string bytes = file_of(braces(tensor("t", "F32", "[1]", 0, 4)), 4);
  for (int i = 0; i < 8; ++i) {
    std::string lie = bytes;
    lie[i] ^= 0x40;
    EXPECT_HAS(refusal(lie), "f is no intact safetensors file");
  }
}

TEST(Safetensors, OffsetsThatLieAreRefused) {
  const auto with = [](int64_t begin, int64_t end) {
    return file_of(braces(tensor("t", "F32", "[2]", begin, end)), 8);
  };
  EXPECT_HAS(refusal(with(0, 12)), "tensor 't' has data_offsets [0,12], the file holds data up to 8");
  EXPECT_HAS(refusal(with(8, 0)), "tensor 't' has data_offsets");
  EXPECT_HAS(refusal(with(-8, 0)), "no size: -8");
  EXPECT_HAS(refusal(with(0, 4)), "tensor 't' has 4 bytes at offset");
  EXPECT_HAS(refusal(file_of(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", 8)), "data_offsets");
  EXPECT_HAS(refusal(file_of(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}})", 8)),
             "no size");
}

TEST(Safetensors, OverlapsHolesAndTrailingBytesAreRefused) {
  const std::string a = tensor("a", "F32", "[2]", 0, 8);
  EXPECT_HAS(refusal(file_of(braces(a + "," + tensor("b", "F32", "[2]", 4, 12)), 12)), "'b' overlaps another");
  EXPECT_HAS(refusal(file_of(braces(a + "," + tensor("b", "F32", "[1]", 12, 16)), 16)), "'b' follows a hole");
  EXPECT_HAS(refusal(file_of(braces(a), 9)), "its tensors end at offset");
  EXPECT_HAS(refusal(file_of(braces(a), 7)), "the file holds data up to 7");
}

TEST(Safetensors, ShapesAndDtypesThatLieAreRefused) {
  EXPECT_HAS(refusal(file_of(braces(tensor("t", "F32", "[3]", 0, 8)), 8)), "F32 [3] needs another number");
  EXPECT_HAS(refusal(file_of(braces(tensor("t", "F16", "[2]", 0, 8)), 8)), "F16 [2] needs another number");
  EXPECT_HAS(refusal(file_of(braces(tensor("t", "F8_E4M3", "[8]", 0, 8)), 8)), "'t' has dtype F8_E4M3, expected F32");
  EXPECT_HAS(refusal(file_of(braces(tensor("t", "F32", "[4611686018427387904,4,0]", 0, 0)), 0)), "needs another");
  EXPECT_HAS(refusal(file_of(braces(tensor("t", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1)), 1)), "has 9 axes");
  EXPECT_HAS(refusal(file_of(braces(tensor("t", "U8", "[1.5]", 0, 1)), 1)), "no size: 1.5");
  EXPECT_HAS(refusal(file_of("{\"t\":7}", 0)), "'t' is no object");
  EXPECT_HAS(refusal(file_of("{\"t\":{}}", 0)), "'t' has no list 'shape'");
}

TEST(Safetensors, DuplicateNamesAreRefused) {
  const std::string t = tensor("t", "U8", "[1]", 0, 1);
  EXPECT_HAS(refusal(file_of(braces(t + "," + t), 1)), "the name 't' twice");
  EXPECT_HAS(refusal(file_of(R"({"t":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1)), "twice");
}

TEST(Safetensors, MetadataMustBeTexts) {
  EXPECT_HAS(refusal(file_of(R"({"__metadata__":{"a":1}})", 0)), "__metadata__ 'a' is no text");
  EXPECT_HAS(refusal(file_of(R"({"__metadata__":[]})", 0)), "__metadata__ is no object");
}

TEST(Safetensors, AFileCutAtAnyByteIsRefused) {
  FaultyFiles files;
  SafetensorsWriter writer(files, "f", {{"a", DType::kF32, {3}}, {"b", DType::kU8, {2}}}, {{"k", "v"}});
  writer.write("0123456789abcd", 14);
  writer.finish();
  const std::string whole = files.bytes("f");
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) EXPECT_HAS(refusal(whole.substr(0, bytes)), "f is no intact");
}

}  // namespace
}  // namespace shardit
