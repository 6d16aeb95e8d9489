// A table of product algorithms: the text as it is, and with checksums that hold. What is accepted is written, and that
// text is the same table.
#include <cstdlib>

#include <google/protobuf/text_format.h>

#include "checkpoints/crc32c.h"
#include "core/error.h"
#include "launcher/product_table.h"
#include "launcher/product_table.pb.h"

using namespace shardit;
using google::protobuf::TextFormat;

namespace {

// Text that protobuf does not parse stays as it is.
std::string forged(const std::string& text) {
  pb::ProductTable table;
  if (!TextFormat::ParseFromString(text, &table)) return text;
  for (pb::ProductTable::Entry& entry : *table.mutable_entry()) {
    const std::string bytes = entry.device() + entry.product() + entry.algorithm();
    entry.set_crc32c(crc32c(bytes.data(), static_cast<int64_t>(bytes.size())));
  }
  std::string with_checksums;
  TextFormat::PrintToString(table, &with_checksums);
  return with_checksums;
}

void parse(const std::string& input) {
  std::string text;
  try {
    text = text_of(parse_product_table(input, "input"));
  } catch (const UserError&) {
    return;
  }
  if (text_of(parse_product_table(text, "again")) != text) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(data, data + size);
  parse(input);
  parse(forged(input));
  return 0;
}
