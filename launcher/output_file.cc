#include "launcher/output_file.h"

#include <filesystem>

#include "core/error.h"

namespace shardit {

void check_output_file(const std::string& path) {
  std::error_code ignored;
  REQUIRE(!std::filesystem::is_directory(path, ignored),
          "'" + path + "' is a folder: expected the name of a file to write");
  const std::filesystem::path folder = std::filesystem::absolute(path).parent_path();
  REQUIRE(std::filesystem::is_directory(folder, ignored),
          "cannot write '" + path + "': there is no folder '" + folder.string() + "'; make it first");
}

}  // namespace shardit
