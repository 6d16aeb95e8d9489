#include "launcher/output_file.h"

#include <filesystem>

#include "core/error.h"
#include "launcher/format.h"

namespace shardit {

void check_output_file(const std::string& path) {
  std::error_code ignored;
  REQUIRE(!std::filesystem::is_directory(path, ignored),
          "'" + path + "' is a folder: expected the name of a file to write");
  const std::filesystem::path folder = std::filesystem::absolute(path).parent_path();
  REQUIRE(std::filesystem::is_directory(folder, ignored),
          "cannot write '" + path + "': there is no folder '" + folder.string() + "'; make it first");
}

void check_room(const std::string& path, uint64_t bytes) {
  std::error_code failed;
  const auto space = std::filesystem::space(std::filesystem::absolute(path).parent_path(), failed);
  if (failed || space.available >= bytes) return;
  throw IoError("'" + path + "' will take " + format_bytes(static_cast<double>(bytes)) + ", and its disk has " +
                format_bytes(static_cast<double>(space.available)) + " free\nfix: make room, or write elsewhere");
}

void replace_file(FileSystem& files, const std::string& path, const std::string& text) {
  const std::string partial = path + ".partial";
  if (files.kind(partial) == PathKind::kFile) files.remove_file(partial);
  write_file(files, partial, text);
  files.rename(partial, path);
}

}  // namespace shardit
