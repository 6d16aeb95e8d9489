// Which bytes of a tar are which file. Nothing is unpacked: images are read from where they lie.
//
// libarchive reads the headers: ustar, pax, GNU, and the old form. A tar comes from anywhere, so what no tar of images
// needs is refused, with the name and the place: absolute names, "..", links, devices, files with holes, a name twice.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "data/file.h"
#include "data/listing.h"

namespace shardit {

// The files in order of the archive; folders are left out. Throws IoError if the archive is damaged, cut short or holds
// what is refused, and UserError if it is compressed. `path` is for messages.
std::vector<ListedFile> index_tar(std::span<const uint8_t> bytes, const std::string& path);
std::vector<ListedFile> index_tar(const File& tar);

}  // namespace shardit
