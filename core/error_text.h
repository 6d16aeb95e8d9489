// How an error stands on standard error, whoever prints it: a process, one rank for all, or a rank that ends the job.
#pragma once

#include <string>

namespace shardit {

// At most three lines of the message: the first begins with the speaker ("shardit"), the others are indented. An empty
// message is no line: it was told elsewhere.
std::string error_text(const std::string& speaker, const std::string& message);

}  // namespace shardit
