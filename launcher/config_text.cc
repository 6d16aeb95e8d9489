#include "launcher/config_text.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

#include <sstream>

#include "core/error.h"
#include "launcher/config_keys.h"

namespace shardit {
namespace {

using google::protobuf::Message;
using google::protobuf::TextFormat;
using google::protobuf::io::Tokenizer;

// The parser's first complaint; lines and columns count from 0.
struct FirstError : google::protobuf::io::ErrorCollector {
  void AddError(int at_line, int at_column, const std::string& text) override {
    if (!message.empty()) return;
    line = at_line;
    column = at_column;
    message = text;
  }
  int line = 0, column = 0;
  std::string message;
};

// The key that the parser was at when it complained, since its own words name neither the path nor the value.
struct Spot {
  std::vector<std::string> path;  // ends in the key
  std::string value;              // first token of its value, as written
  int line = 0;                   // of the key
};

bool is_after(const Tokenizer::Token& token, const FirstError& error) {
  return token.line > error.line || (token.line == error.line && token.column > error.column);
}
bool is_at(const Tokenizer::Token& token, const FirstError& error) {
  return token.line == error.line && token.column == error.column;
}

Spot locate(const std::string& text, const FirstError& error) {
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  FirstError ignored;
  Tokenizer tokens(&stream, &ignored);
  tokens.set_comment_style(Tokenizer::SH_COMMENT_STYLE);
  std::vector<std::string> open;  // keys of the braces we are inside
  Spot spot;
  bool expects_value = false;
  while (tokens.Next() && !is_after(tokens.current(), error)) {
    const Tokenizer::Token& token = tokens.current();
    const bool opens = token.text == "{" || token.text == "<";
    const bool names_key = (opens || token.text == ":") && tokens.previous().type == Tokenizer::TYPE_IDENTIFIER;
    if (names_key) {
      spot = {open, "", tokens.previous().line};
      spot.path.push_back(tokens.previous().text);
    }
    if (opens && is_at(token, error)) spot.value = token.text;
    if (is_at(token, error) && (opens || token.text == "}" || token.text == ">")) break;
    if (opens && !spot.path.empty()) open.push_back(spot.path.back());
    if ((token.text == "}" || token.text == ">") && !open.empty()) open.pop_back();
    if (expects_value && !opens) spot.value = token.text;
    if (spot.value == "-" && tokens.Next()) spot.value += tokens.current().text;
    expects_value = token.text == ":";
  }
  return spot;
}

std::string dotted(const std::vector<std::string>& path) {
  std::string result;
  for (const std::string& step : path) result += (result.empty() ? "" : ".") + step;
  return result;
}

// Our words for the parser's complaint, where we have better ones; else its own.
std::string describe(const Spot& spot, const FirstError& error) {
  const bool twice = error.message.find("multiple times") != std::string::npos;
  if (twice) return dotted(spot.path) + " is given twice: keep one";
  if (spot.path.empty()) return error.message;
  const Descriptor* message = message_at({spot.path.begin(), spot.path.end() - 1});
  if (!message) return error.message;
  const FieldDescriptor* field = message->FindFieldByName(spot.path.back());
  if (!field) return describe_unknown_key(spot.path);
  const bool wrong_value = !spot.value.empty() && error.message.find("range") == std::string::npos;
  if (!wrong_value) return dotted(spot.path) + ": " + error.message;
  return dotted(spot.path) + ": expected " + expected_value(*field) + ", got " + spot.value;
}

// One step of a --set path: "optimizer" or "ema[0]".
struct Step {
  std::string name;
  int index = -1;
};

Step parse_step(const std::string& text, const std::string& set) {
  const size_t bracket = text.find('[');
  if (bracket == std::string::npos) return {text};
  const std::string digits = text.substr(bracket + 1, text.size() - bracket - 2);
  const bool well_formed = text.back() == ']' && !digits.empty() && digits.size() < 6 &&
                           digits.find_first_not_of("0123456789") == std::string::npos;
  REQUIRE(well_formed, "--set " + set + ": '" + text + "' is not a list element: expected one like ema[0]");
  return {text.substr(0, bracket), std::stoi(digits)};
}

// The message inside `parent` that a step leads to; a list grows by one if the index is its size.
Message& enter(Message& parent, const FieldDescriptor& field, const Step& step, const std::string& set) {
  const auto* reflection = parent.GetReflection();
  if (!field.is_repeated()) {
    REQUIRE(step.index < 0, "--set " + set + ": " + step.name + " is not a list: leave out the index");
    return *reflection->MutableMessage(&parent, &field);
  }
  REQUIRE(step.index >= 0, "--set " + set + ": " + step.name + " is a list: write " + step.name + "[0]");
  const int size = reflection->FieldSize(parent, &field);
  REQUIRE(step.index <= size, "--set " + set + ": there is no " + step.name + "[" + std::to_string(step.index) +
                                  "]: the config has " + std::to_string(size) + ", the next is " + step.name + "[" +
                                  std::to_string(size) + "]");
  if (step.index == size) return *reflection->AddMessage(&parent, &field);
  return *reflection->MutableRepeatedMessage(&parent, &field, step.index);
}

void set_value(Message& message, const FieldDescriptor& field, const std::string& value, const std::string& set) {
  if (value.empty()) return message.GetReflection()->ClearField(&message, &field);
  const bool bare_text = field.cpp_type() == FieldDescriptor::CPPTYPE_STRING && value[0] != '"' && value[0] != '\'';
  if (bare_text) return message.GetReflection()->SetString(&message, &field, value);
  FirstError error;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  const bool parsed = parser.ParseFieldValueFromString(value, &field, &message);
  REQUIRE(parsed && error.message.empty(),  // a string without its last quote is both parsed and an error
          "--set " + set + ": expected " + expected_value(field) + ", got '" + value + "'");
}

}  // namespace

void parse_text(const std::string& text, const std::string& name, RunConfig& config) {
  FirstError error;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  if (parser.ParseFromString(text, &config)) return;
  const Spot spot = locate(text, error);
  const int line = spot.path.empty() ? error.line : spot.line;
  throw UserError(name + ":" + std::to_string(line + 1) + ": " + describe(spot, error));
}

void apply_set(const std::string& set, RunConfig& config) {
  const size_t equals = set.find('=');
  REQUIRE(equals != std::string::npos && equals > 0, "--set " + set + ": expected key=value, as in optimizer.lr=1e-4");
  Message* message = &config;
  std::vector<std::string> path;
  std::istringstream steps(set.substr(0, equals));
  for (std::string text; std::getline(steps, text, '.');) {
    const Step step = parse_step(text, set);
    path.push_back(step.name);
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(step.name);
    REQUIRE(field, "--set " + set + ": " + describe_unknown_key(path));
    if (field->message_type()) {
      message = &enter(*message, *field, step, set);
      continue;
    }
    REQUIRE(step.index < 0 && steps.eof(),
            "--set " + set + ": " + dotted(path) + " is a single value, nothing is inside it");
    return set_value(*message, *field, set.substr(equals + 1), set);
  }
  throw UserError("--set " + set + ": " + dotted(path) + " holds several keys: set one of them, as in " + dotted(path) +
                  "." + message->GetDescriptor()->field(0)->name() + "=…");
}

}  // namespace shardit
