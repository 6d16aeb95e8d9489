#include "data/listing.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/error.h"

namespace shardit {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, const std::string& why) {
  throw IoError("cannot list '" + printable(path.string()) + "': " + why);
}

class Walk {
 public:
  // Called with each file; returns whether the rest of the folder at the top that it lies in is wanted too.
  using Visit = std::function<bool(const fs::directory_entry& file, const std::string& name)>;
  explicit Walk(Visit visit) : visit_(std::move(visit)) {}

  bool enter(const fs::path& folder, const std::string& prefix) {
    std::error_code failed;
    const fs::path real = fs::canonical(folder, failed);
    if (failed) fail(folder, failed.message());
    if (std::find(above_.begin(), above_.end(), real) != above_.end())
      fail(folder, "it is a link to a folder that it lies in");
    above_.push_back(real);
    bool more = true;
    fs::directory_iterator entries(folder, failed);
    for (; !failed && more && entries != fs::directory_iterator(); entries.increment(failed))
      more = look_at(*entries, prefix + entries->path().filename().string()) || prefix.empty();
    if (failed) fail(folder, failed.message());
    above_.pop_back();
    return more;
  }

 private:
  // An entry's kind is known from the folder, but for a link's, which is that of what it leads to.
  bool look_at(const fs::directory_entry& entry, const std::string& name) {
    std::error_code failed;
    if (entry.is_directory(failed)) return enter(entry.path(), name + "/");
    if (failed == std::errc::no_such_file_or_directory) fail(entry.path(), "it is a link that leads nowhere");
    if (failed) fail(entry.path(), failed.message());
    return !entry.is_regular_file(failed) || visit_(entry, name);
  }

  Visit visit_;
  std::vector<fs::path> above_;  // the folders that the current one lies in, by their real names
};

}  // namespace

std::vector<ListedFile> list_folder(const std::string& folder) {
  std::vector<ListedFile> files;
  Walk([&](const fs::directory_entry& file, const std::string& name) {
    std::error_code failed;
    const uint64_t bytes = file.file_size(failed);
    if (failed) fail(file.path(), failed.message());
    files.push_back({.name = name, .bytes = bytes});
    return true;
  }).enter(folder, "");
  return files;
}

void list_names(const std::string& folder, const std::function<bool(const std::string& name)>& found) {
  Walk([&](const fs::directory_entry&, const std::string& name) { return found(name); }).enter(folder, "");
}

std::string printable(const std::string& name) {
  std::string shown = name;
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return shown;
}

}  // namespace shardit
