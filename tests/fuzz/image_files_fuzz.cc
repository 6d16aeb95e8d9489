// A tar of images and a list of their classes: labels by folder, by prefix and by the list, and the bytes of every
// image.
#include "core/error.h"
#include "data/labels.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/two_files.h"

using namespace shardit;

namespace {

void label(const ImageFiles& files, ClassFrom from, const std::string& list) {
  try {
    const Labels labels = label_images(files, from, list, 0);
    for (int32_t label : labels.of_image)
      if (label < 0 || label >= labels.names.classes) std::abort();
    label_images(files, from, list, labels.names.classes, labels.names);
  } catch (const UserError&) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static MemoryFile tar, list;
  const TwoFiles input = split(data, size);
  tar.hold(input.first);
  list.hold(input.second);
  for (const char* part : {".", "train"}) {
    try {
      const ImageFiles files(tar.path(), part);
      for (int64_t i = 0; i < files.size(); ++i) files.read(i);
      for (ClassFrom from : {ClassFrom::kFolder, ClassFrom::kPrefix, ClassFrom::kList}) label(files, from, list.path());
    } catch (const UserError&) {
    } catch (const IoError&) {}
  }
  return 0;
}
