// What ranks tell each other during a save or a load, as bytes and back. REQUIRES: the bytes were made by the same
// program.
#pragma once

#include <string>

#include "checkpoints/directory.h"
#include "checkpoints/save.h"

namespace shardit {

std::string encode_written_file(const WrittenFile& file);
WrittenFile decode_written_file(const std::string& bytes);

std::string encode_report(const SaveReport& report);
SaveReport decode_report(const std::string& bytes);

std::string encode_newest(const NewestCheckpoint& newest);
NewestCheckpoint decode_newest(const std::string& bytes);

}  // namespace shardit
