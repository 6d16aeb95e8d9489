#include "launcher/product_table.h"

#include <google/protobuf/text_format.h>

#include "checkpoints/crc32c.h"
#include "checkpoints/file_system.h"
#include "core/error.h"
#include "launcher/product_table.pb.h"
#include "launcher/proto_text.h"

namespace shardit {
namespace {

using google::protobuf::TextFormat;

constexpr int64_t kMostBytes = int64_t{16} << 20;
constexpr const char* kFix = "\nwrite it anew with `shardit bench ops CONFIG --tune`, or take product_table out";

std::string hex_of(const LibraryAlgorithm& algorithm) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (uint8_t byte : algorithm) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

// REQUIRES: as many digits as hex_of gives.
LibraryAlgorithm algorithm_of(const std::string& hex) {
  LibraryAlgorithm algorithm;
  for (size_t i = 0; i < algorithm.size(); ++i)
    algorithm[i] = static_cast<uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  return algorithm;
}

uint32_t crc_of(const pb::ProductTable::Entry& entry) {
  const std::string bytes = entry.device() + entry.product() + entry.algorithm();
  return crc32c(bytes.data(), std::ssize(bytes));
}

void check(const pb::ProductTable::Entry& entry, const std::string& where) {
  const std::string& hex = entry.algorithm();
  const bool is_hex = hex.find_first_not_of("0123456789abcdef") == std::string::npos;
  REQUIRE(is_hex && hex.size() == 2 * LibraryAlgorithm().size(),
          where + ": algorithm is not " + std::to_string(2 * LibraryAlgorithm().size()) + " hex digits" + kFix);
  REQUIRE(entry.crc32c() == crc_of(entry), where + ": device, product and algorithm do not have their crc32c" + kFix);
}

}  // namespace

ProductTable parse_product_table(const std::string& text, const std::string& name) {
  pb::ProductTable message;
  const std::string complaint = parse_proto_text(text, message);
  REQUIRE(complaint.empty(), "product table " + name + complaint + kFix);
  ProductTable table;
  for (const pb::ProductTable::Entry& entry : message.entry()) {
    const std::string where = "product table " + name + ", entry " + std::to_string(table.size() + 1);
    check(entry, where);
    const bool is_new =
        table
            .emplace(std::pair(entry.device(), entry.product()),
                     ProductEntry{algorithm_of(entry.algorithm()), entry.about(), entry.first_us(), entry.best_us()})
            .second;
    REQUIRE(is_new, where + ": there is an earlier one for the same device and product" + kFix);
  }
  return table;
}

ProductTable read_product_table(const std::string& path) {
  PosixFiles files;
  REQUIRE(files.kind(path) == PathKind::kFile, "product_table: there is no file '" + path + "'" + kFix);
  REQUIRE(files.open(path)->size() <= kMostBytes, "product table " + path + " is larger than 16 MiB" + kFix);
  return parse_product_table(read_file(files, path), path);
}

std::string text_of(const ProductTable& table) {
  pb::ProductTable message;
  for (const auto& [key, value] : table) {
    pb::ProductTable::Entry& entry = *message.add_entry();
    entry.set_device(key.first);
    entry.set_product(key.second);
    entry.set_algorithm(hex_of(value.algorithm));
    entry.set_crc32c(crc_of(entry));
    entry.set_about(value.about);
    entry.set_first_us(value.first_us);
    entry.set_best_us(value.best_us);
  }
  std::string text;
  TextFormat::PrintToString(message, &text);
  return text;
}

std::map<std::string, LibraryAlgorithm> algorithms_for(const ProductTable& table, const std::string& device) {
  std::map<std::string, LibraryAlgorithm> algorithms;
  for (const auto& [key, entry] : table)
    if (key.first == device) algorithms[key.second] = entry.algorithm;
  return algorithms;
}

}  // namespace shardit
