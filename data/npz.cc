#include "data/npz.h"

#include "data/npy.h"

namespace shardit {
namespace {

constexpr char kSuffix[] = ".npy";

// Whether the shape's bytes are `bytes`, without a product that may overflow.
bool fills(const NpzArray& array, uint64_t bytes) {
  uint64_t product = size_of(array.dtype);
  for (int64_t extent : array.shape)
    if (__builtin_mul_overflow(product, static_cast<uint64_t>(extent), &product)) return false;
  return product == bytes;
}

}  // namespace

void NpzWriter::begin(const NpzArray& array) {
  const std::string header = npy_header({array.dtype, array.shape});
  zip_.begin(array.name + kSuffix, header.size() + array.bytes());
  zip_.write(header.data(), header.size());
}

NpzReader::NpzReader(const std::string& path) : path_(path), zip_(path) {
  for (const ZipMember& member : zip_.members()) {
    zip_.open(member);
    arrays_.push_back(read_header(member));
  }
}

NpzArray NpzReader::read_header(const ZipMember& member) {
  const std::string what = "'" + path_ + "': " + member.name;
  if (!member.name.ends_with(kSuffix))
    throw IoError(what + " is not a .npy array: expected a file that numpy.savez wrote");
  const NpyHeader header = read_npy_header([this](void* to, size_t bytes) { zip_.read(to, bytes); }, what);
  const NpzArray array{member.name.substr(0, member.name.size() - 4), header.dtype, header.shape};
  if (!fills(array, zip_.remaining()))
    throw IoError(what + " says it is " + name_of(array.dtype) + " " + array.shape.str() + ", but " +
                  std::to_string(zip_.remaining()) + " bytes follow its header");
  return array;
}

const NpzArray* NpzReader::find(const std::string& name) const {
  for (const NpzArray& array : arrays_)
    if (array.name == name) return &array;
  return nullptr;
}

const NpzArray& NpzReader::open(const std::string& name) {
  for (size_t i = 0; i < arrays_.size(); ++i) {
    if (arrays_[i].name != name) continue;
    zip_.open(zip_.members()[i]);
    read_header(zip_.members()[i]);
    return arrays_[i];
  }
  std::string names;
  for (const NpzArray& array : arrays_) names += " " + array.name;
  throw IoError("'" + path_ + "' has no array '" + name + "': it holds" + (names.empty() ? " none" : names));
}

void NpzReader::wrong_dtype(const NpzArray& array, DType wanted) const {
  throw IoError("'" + path_ + "': " + array.name + " is " + name_of(array.dtype) + ": expected " + name_of(wanted));
}

}  // namespace shardit
