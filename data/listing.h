// The regular files below a folder or inside a tar, by name.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace shardit {

struct ListedFile {
  std::string name;     // relative, parts joined by '/'; never absolute, no part is "", "." or ".."
  uint64_t offset = 0;  // where its bytes begin in the tar; 0 for a file of its own
  uint64_t bytes = 0;
};

// All files below `folder`, in no particular order. Links are followed. Throws IoError for a folder that cannot be
// read, a link that leads nowhere, or one that leads back to a folder it lies in.
std::vector<ListedFile> list_folder(const std::string& folder);

// The same files by name alone, which takes no look at any of them: calls `found` with each. Where it returns false,
// the other files of that name's first folder are passed over.
void list_names(const std::string& folder, const std::function<bool(const std::string& name)>& found);

// A name as messages may show it: bytes that would break a line or a terminal become '?'.
std::string printable(const std::string& name);

}  // namespace shardit
