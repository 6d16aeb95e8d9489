#include "launcher/config_keys.h"

#include <glog/logging.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/text_format.h>

#include <sstream>

#include "core/error.h"
#include "launcher/nearest.h"

namespace shardit {
namespace {

using google::protobuf::Message;

std::vector<const FieldDescriptor*> fields_of(const Descriptor& message) {
  std::vector<const FieldDescriptor*> fields;
  for (int i = 0; i < message.field_count(); ++i) fields.push_back(message.field(i));
  return fields;
}

std::string join_path(const std::vector<std::string>& path) {
  std::string result;
  for (const std::string& step : path) result += (result.empty() ? "" : ".") + step;
  return result;
}

// The paths, anywhere in the config, of keys with exactly this name.
std::vector<std::string> paths_of_key(const std::string& name, const Descriptor& message,
                                      const std::string& prefix = "") {
  std::vector<std::string> paths;
  for (const FieldDescriptor* field : fields_of(message)) {
    if (field->name() == name) paths.push_back(prefix + name);
    if (!field->message_type()) continue;
    const std::string inner = prefix + field->name() + (field->is_repeated() ? "[0]." : ".");
    for (const std::string& path : paths_of_key(name, *field->message_type(), inner)) paths.push_back(path);
  }
  return paths;
}

std::vector<std::string> names_of(const Descriptor& message) {
  std::vector<std::string> names;
  for (const FieldDescriptor* field : fields_of(message)) names.push_back(field->name());
  return names;
}

void list_keys_of(const Message& message, const std::string& prefix,
                  std::vector<std::pair<std::string, std::string>>& keys) {
  const auto* reflection = message.GetReflection();
  for (const FieldDescriptor* field : fields_of(*message.GetDescriptor())) {
    const std::string key = prefix + field->name();
    if (field->is_repeated()) {
      for (int i = 0; i < reflection->FieldSize(message, field); ++i)
        list_keys_of(reflection->GetRepeatedMessage(message, field, i), key + "[" + std::to_string(i) + "].", keys);
    } else if (reflection->HasField(message, field)) {
      if (field->message_type()) {
        list_keys_of(reflection->GetMessage(message, field), key + ".", keys);
      } else {
        std::string value;
        google::protobuf::TextFormat::PrintFieldValueToString(message, field, -1, &value);
        keys.emplace_back(key, value);
      }
    }
  }
}

void set_to_default(Message& message, const FieldDescriptor* field) {
  const auto* reflection = message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection->SetInt64(&message, field, field->default_value_int64());
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection->SetUInt64(&message, field, field->default_value_uint64());
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection->SetDouble(&message, field, field->default_value_double());
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection->SetBool(&message, field, field->default_value_bool());
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection->SetEnum(&message, field, field->default_value_enum());
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection->SetString(&message, field, field->default_value_string());
    default:
      LOG(FATAL) << "run_config.proto uses a type that configs do not: " << field->full_name();
  }
}

// A key that means something only if another key has a certain value.
struct Dependence {
  std::string key;
  bool meaningful;
  std::string reason;  // said when it is set all the same
};

std::vector<Dependence> dependences(const RunConfig& config) {
  std::vector<Dependence> result;
  const bool edm = config.diffusion().process() == RunConfig::Diffusion::edm;
  for (const char* key : {"timesteps", "beta_start", "beta_end"})
    result.push_back(
        {std::string("diffusion.") + key, !edm, "it belongs to the ddpm process, and diffusion.process is edm"});
  for (const char* key : {"p_mean", "p_std", "sigma_data", "sigma_min", "sigma_max", "rho"})
    result.push_back(
        {std::string("diffusion.") + key, edm, "it belongs to the edm process, and diffusion.process is ddpm"});
  const bool synthetic = config.data().kind() == RunConfig::Data::synthetic;
  result.push_back({"data.images", synthetic, "it belongs to synthetic data, and data.kind is not synthetic"});
  for (const char* key : {"path", "split", "validation_split"})
    result.push_back({std::string("data.") + key, !synthetic, "synthetic data is not read from files"});
  const bool image_files = config.data().kind() == RunConfig::Data::image_files;
  for (const char* key : {"class_from", "class_list", "validation_class_list", "on_corrupt"})
    result.push_back(
        {std::string("data.") + key, image_files, "it belongs to image files, and data.kind is not image_files"});
  const auto class_from = config.data().class_from();
  for (const char* key : {"class_list", "validation_class_list"})
    result.push_back(
        {std::string("data.") + key, class_from == RunConfig::Data::list,
         "it belongs to classes by list, and data.class_from is " + RunConfig::Data::ClassFrom_Name(class_from)});
  return result;
}

void fill_defaults_of(Message& message, const std::string& prefix, const std::vector<Dependence>& dependences) {
  const auto* reflection = message.GetReflection();
  for (const FieldDescriptor* field : fields_of(*message.GetDescriptor())) {
    const std::string key = prefix + field->name();
    bool meaningful = true;
    for (const Dependence& d : dependences) meaningful &= d.key != key || d.meaningful;
    const bool has_default = field->has_default_value() && meaningful;
    if (field->is_repeated()) continue;
    if (field->message_type())
      fill_defaults_of(*reflection->MutableMessage(&message, field), key + ".", dependences);
    else if (has_default && !reflection->HasField(message, field))
      set_to_default(message, field);
  }
}

}  // namespace

const Descriptor* message_at(const std::vector<std::string>& path) {
  const Descriptor* message = RunConfig::descriptor();
  for (const std::string& step : path) {
    const FieldDescriptor* field = message->FindFieldByName(step);
    if (!field || !field->message_type()) return nullptr;
    message = field->message_type();
  }
  return message;
}

std::string describe_unknown_key(const std::vector<std::string>& path) {
  const std::vector<std::string> parents(path.begin(), path.end() - 1);
  const Descriptor* message = message_at(parents);
  CHECK(message) << join_path(path);
  const std::string unknown = "unknown key '" + join_path(path) + "'";
  const std::vector<std::string> elsewhere = paths_of_key(path.back(), *RunConfig::descriptor());
  if (!elsewhere.empty()) return unknown + ": did you mean '" + join_words(elsewhere, "or") + "'?";
  const std::string prefix = parents.empty() ? "" : join_path(parents) + ".";
  const std::string close = nearest(path.back(), names_of(*message));
  if (!close.empty()) return unknown + ": did you mean '" + prefix + close + "'?";
  const std::string where = parents.empty() ? "the keys are " : join_path(parents) + " has the keys ";
  return unknown + ": " + where + join_words(names_of(*message), "and");
}

std::string expected_value(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return "a whole number";
    case FieldDescriptor::CPPTYPE_UINT64:
      return "a whole number, not negative";
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return "a number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_STRING:
      return "text in quotes";
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return "keys in braces, " + field.name() + " { … }";
    default:
      break;
  }
  std::vector<std::string> words;
  for (int i = 0; i < field.enum_type()->value_count(); ++i) words.push_back(field.enum_type()->value(i)->name());
  return join_words(words);
}

std::vector<std::pair<std::string, std::string>> list_keys(const RunConfig& config) {
  std::vector<std::pair<std::string, std::string>> keys;
  list_keys_of(config, "", keys);
  return keys;
}

double number_at(const RunConfig& config, const std::string& key) {
  const Message* message = &config;
  std::istringstream steps(key);
  for (std::string step; std::getline(steps, step, '.');) {
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(step);
    CHECK(field) << "no config key " << key;
    const auto* reflection = message->GetReflection();
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) return reflection->GetDouble(*message, field);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT64)
      return static_cast<double>(reflection->GetInt64(*message, field));
    CHECK(field->message_type()) << key << " is not a number";
    message = &reflection->GetMessage(*message, field);
  }
  LOG(FATAL) << key << " is not a number";
}

void fill_defaults(RunConfig& config) { fill_defaults_of(config, "", dependences(config)); }

void refuse_keys_without_meaning(const RunConfig& config) {
  for (const auto& [key, value] : list_keys(config))
    for (const Dependence& d : dependences(config))
      REQUIRE(d.key != key || d.meaningful, key + "=" + value + " has no effect: " + d.reason + "; remove it");
}

}  // namespace shardit
