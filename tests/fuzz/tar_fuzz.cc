// The index of a tar. What it lists lies in the archive, under a name that leads nowhere else.
#include <cstdlib>

#include "core/error.h"
#include "data/tar_index.h"

using namespace shardit;

namespace {

bool is_plain(const std::string& name) {
  const std::string path = "/" + name + "/";
  for (const char* part : {"//", "/./", "/../"})
    if (path.find(part) != std::string::npos) return false;
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    for (const ListedFile& file : index_tar({data, size}, "input"))
      if (file.offset > size || file.bytes > size - file.offset || !is_plain(file.name)) std::abort();
  } catch (const UserError&) {
  } catch (const IoError&) {}
  return 0;
}
