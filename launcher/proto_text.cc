#include "launcher/proto_text.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

namespace shardit {
namespace {

struct FirstComplaint : google::protobuf::io::ErrorCollector {
  void AddError(int line, int, const std::string& message) override {
    if (text.empty()) text = ":" + std::to_string(line + 1) + ": " + message;
  }
  std::string text;
};

}  // namespace

std::string parse_proto_text(const std::string& text, google::protobuf::Message& message) {
  FirstComplaint complaint;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&complaint);
  return parser.ParseFromString(text, &message) ? "" : complaint.text;
}

}  // namespace shardit
