// The JPEG and PNG files of a folder or of a tar, by number, in order of their names: the same numbers for a folder and
// for its tar.
#pragma once

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "data/file.h"
#include "data/listing.h"

namespace shardit {

// Whether a file of this name is taken for an image: .jpg, .jpeg or .png in any case, and not hidden.
bool is_image_name(const std::string& name);

class ImageFiles {
 public:
  // `path`: a folder, or an uncompressed tar. `split`: the folder in it whose images are taken, "." for all.
  // Throws UserError where nothing is found, or where pictures lie that are not read here (.webp, .gif, …), and IoError
  // for a folder or a tar that cannot be read.
  ImageFiles(const std::string& path, const std::string& split);

  const std::string& name() const { return name_; }  // "imagenet.tar/train"
  int64_t size() const { return std::ssize(files_); }
  const ListedFile& operator[](int64_t index) const { return files_[index]; }  // its name begins below the split
  int64_t passed_over() const { return passed_over_; }                         // files that are no pictures

  // The bytes of one file, or the first `most` of them. Any number of threads may read at once. Throws IoError where
  // they cannot be read, or where the file has not as many as when it was listed; CorruptImage for a file so large that
  // it is no picture.
  std::vector<uint8_t> read(int64_t index, uint64_t most = std::numeric_limits<uint64_t>::max()) const;

 private:
  void take(std::vector<ListedFile> all, const std::string& split);

  std::string root_;           // of a folder: path and split
  std::unique_ptr<File> tar_;  // where it is one
  std::string name_;
  std::vector<ListedFile> files_;
  int64_t passed_over_ = 0;
};

}  // namespace shardit
