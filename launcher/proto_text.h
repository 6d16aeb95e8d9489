// Files of protobuf text other than the run config, whose errors say more (config_text.h).
#pragma once

#include <google/protobuf/message.h>

#include <string>

namespace shardit {

// Parses the whole of `text`. Returns "", or what is wrong and where: ":7: Message type …".
std::string parse_proto_text(const std::string& text, google::protobuf::Message& message);

}  // namespace shardit
