#include "data/image_files.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include <glog/logging.h>

#include "core/error.h"
#include "data/decode.h"
#include "data/tar_index.h"

namespace shardit {
namespace {

namespace fs = std::filesystem;

enum class Kind { kImage, kUnread, kOther };

Kind kind_of(const std::string& name) {
  const std::string file = name.substr(name.rfind('/') + 1);
  const size_t dot = file.rfind('.');
  if (file[0] == '.' || dot == std::string::npos) return Kind::kOther;
  std::string ending = file.substr(dot + 1);
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto among = [&](std::initializer_list<const char*> endings) {
    return std::find(endings.begin(), endings.end(), ending) != endings.end();
  };
  if (among({"jpg", "jpeg", "png"})) return Kind::kImage;
  return among({"webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "jxl", "jp2", "ppm"}) ? Kind::kUnread
                                                                                           : Kind::kOther;
}

// "a, b, c and 7 more"
std::string first_of(const std::vector<std::string>& names) {
  std::string text;
  const size_t shown = std::min<size_t>(names.size(), 3);
  for (size_t i = 0; i < shown; ++i) text += (i ? ", " : "") + printable(names[i]);
  return names.size() > shown ? text + " and " + std::to_string(names.size() - shown) + " more" : text;
}

// The folders at the top, for one who named another.
std::string folders_in(const std::vector<ListedFile>& files) {
  std::vector<std::string> names;
  for (const ListedFile& file : files)
    if (const size_t slash = file.name.find('/'); slash != std::string::npos)
      names.push_back(file.name.substr(0, slash));
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names.empty() ? "no folders" : first_of(names);
}

std::string last_part(const std::string& path) {
  const fs::path whole = fs::path(path).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

// "train" for "train/" and "./train", so that a folder and its tar understand the same names.
std::string plain_folder(const std::string& name) {
  REQUIRE(!name.empty(), "the split has no name\nfix: name a folder of the data, or \".\" to take all");
  const std::string plain = fs::path(name).lexically_normal().string();
  return plain.size() > 1 && plain.ends_with('/') ? plain.substr(0, plain.size() - 1) : plain;
}

}  // namespace

bool is_image_name(const std::string& name) { return kind_of(name) == Kind::kImage; }

ImageFiles::ImageFiles(const std::string& path, const std::string& given_split) : root_(path), name_(last_part(path)) {
  const std::string split = plain_folder(given_split);
  std::error_code ignored;  // what cannot be looked at is told when it is opened
  REQUIRE(fs::exists(path, ignored) || ignored,
          "no folder or tar of images '" + path + "'\nfix: give the path of one as data.path");
  if (split != ".") name_ += "/" + split;
  if (!fs::is_directory(path, ignored)) {
    tar_ = std::make_unique<File>(path, File::kRead);
    take(index_tar(*tar_), split);
    return;
  }
  if (split != ".") root_ += "/" + split;
  REQUIRE(fs::is_directory(root_, ignored), "no folder '" + root_ +
                                                "'\nfix: data.split and data.validation_split name a folder in "
                                                "data.path; \".\" takes all that lies in it");
  take(list_folder(root_), ".");
}

void ImageFiles::take(std::vector<ListedFile> all, const std::string& split) {
  std::vector<std::string> unread;
  const std::string prefix = split == "." ? "" : split + "/";
  bool found = prefix.empty();
  for (const ListedFile& entry : all) {
    if (!entry.name.starts_with(prefix)) continue;
    found = true;
    ListedFile file{entry.name.substr(prefix.size()), entry.offset, entry.bytes};
    const Kind kind = kind_of(file.name);
    if (kind == Kind::kUnread) unread.push_back(file.name);
    if (kind == Kind::kImage)
      files_.push_back(std::move(file));
    else
      ++passed_over_;
  }
  REQUIRE(found, "no folder '" + split + "' in '" + root_ + "', which has " + folders_in(all) +
                     "\nfix: name one of them as data.split, or \".\" to take all");
  REQUIRE(unread.empty(), "'" + name_ + "' has pictures of a kind that is not read: " + first_of(unread) +
                              "\nfix: turn them into JPEG or PNG, or take them away");
  REQUIRE(!files_.empty(), "no images in '" + name_ + "', only " + std::to_string(passed_over_) +
                               " other files: expected .jpg, .jpeg or .png" +
                               "\nfix: name the folder that holds them as data.path or data.split");
  std::sort(files_.begin(), files_.end(), [](const ListedFile& a, const ListedFile& b) { return a.name < b.name; });
}

std::vector<uint8_t> ImageFiles::read(int64_t index, uint64_t most) const {
  CHECK(index >= 0 && index < size()) << name_ << ": image " << index << " of " << size();
  const ListedFile& entry = files_[index];
  if (entry.bytes > kMaxImageBytes)
    throw CorruptImage("the file has " + std::to_string(entry.bytes) + " bytes: expected at most " +
                       std::to_string(kMaxImageBytes));
  std::vector<uint8_t> bytes(std::min(entry.bytes, most));
  if (tar_) {
    tar_->read_at(entry.offset, bytes.data(), bytes.size());
    return bytes;
  }
  const File file(root_ + "/" + entry.name, File::kRead);
  if (file.size() != entry.bytes)
    throw IoError("'" + printable(file.path()) + "' has " + std::to_string(file.size()) + " bytes, it had " +
                  std::to_string(entry.bytes) + " when the images were listed: leave the data alone while it is used");
  file.read_at(0, bytes.data(), bytes.size());
  return bytes;
}

}  // namespace shardit
