#include "data/listing.h"

#include <algorithm>
#include <filesystem>

#include "core/error.h"

namespace shardit {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, const std::string& why) {
  throw IoError("cannot list '" + printable(path.string()) + "': " + why);
}

class FolderListing {
 public:
  std::vector<ListedFile> files;

  void add_folder(const fs::path& folder, const std::string& prefix) {
    std::error_code failed;
    const fs::path real = fs::canonical(folder, failed);
    if (failed) fail(folder, failed.message());
    if (std::find(above_.begin(), above_.end(), real) != above_.end())
      fail(folder, "it is a link to a folder that it lies in");
    above_.push_back(real);
    fs::directory_iterator entries(folder, failed);
    for (; !failed && entries != fs::directory_iterator(); entries.increment(failed))
      add(*entries, prefix + entries->path().filename().string());
    if (failed) fail(folder, failed.message());
    above_.pop_back();
  }

 private:
  void add(const fs::directory_entry& entry, const std::string& name) {
    std::error_code failed;
    const fs::file_status status = entry.status(failed);  // of what a link leads to
    if (status.type() == fs::file_type::not_found) fail(entry.path(), "it is a link that leads nowhere");
    if (failed) fail(entry.path(), failed.message());
    if (fs::is_directory(status)) return add_folder(entry.path(), name + "/");
    if (!fs::is_regular_file(status)) return;
    const uint64_t bytes = entry.file_size(failed);
    if (failed) fail(entry.path(), failed.message());
    files.push_back({.name = name, .bytes = bytes});
  }

  std::vector<fs::path> above_;  // the folders that the current one lies in, by their real names
};

}  // namespace

std::vector<ListedFile> list_folder(const std::string& folder) {
  FolderListing listing;
  listing.add_folder(folder, "");
  return std::move(listing.files);
}

std::string printable(const std::string& name) {
  std::string shown = name;
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return shown;
}

}  // namespace shardit
