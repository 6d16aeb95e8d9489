#include "checkpoints/digest.h"

#define XXH_INLINE_ALL
#include <glog/logging.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>

#include "core/layout.h"

namespace shardit {
namespace {

static_assert(std::endian::native == std::endian::little, "digests are defined over little-endian bytes");

// Neighbouring chunks get unrelated seeds.
uint64_t seed_of_chunk(int64_t index) { return 0x9e3779b97f4a7c15ull * (static_cast<uint64_t>(index) + 1); }

// The bytes that a digest is computed over; every string is preceded by its length, so that no two lists look alike.
class Text {
 public:
  void add(uint64_t number) {
    for (int i = 0; i < 8; ++i) bytes_.push_back(static_cast<char>(number >> (8 * i)));
  }
  void add(const std::string& text) {
    add(text.size());
    bytes_ += text;
  }
  void add(const Digest& digest) { bytes_.append(digest.bytes.begin(), digest.bytes.end()); }
  Digest digest() const {
    XXH128_canonical_t canonical;  // most significant byte first: the order in which people read it
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes_.data(), bytes_.size()));
    Digest result;
    std::copy(std::begin(canonical.digest), std::end(canonical.digest), result.bytes.begin());
    return result;
  }

 private:
  std::string bytes_;
};

}  // namespace

ChunkSum& ChunkSum::operator+=(const ChunkSum& other) {
  low += other.low;
  high += other.high + (low < other.low ? 1 : 0);
  return *this;
}

std::string Digest::hex() const {
  static const char kDigits[] = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : bytes) text += {kDigits[byte >> 4], kDigits[byte & 15]};
  return text;
}

ChunkSum hash_chunks(const void* data, DType dtype, int64_t first, int64_t count) {
  CHECK_EQ(first % kChunk, 0) << "a part of a tensor starts inside a chunk";
  const char* bytes = static_cast<const char*>(data);
  const int64_t element = static_cast<int64_t>(size_of(dtype));
  ChunkSum sum;
  for (int64_t done = 0; done < count; done += kChunk) {
    const int64_t elements = std::min(kChunk, count - done);
    const XXH128_hash_t hash =
        XXH3_128bits_withSeed(bytes + done * element, elements * element, seed_of_chunk((first + done) / kChunk));
    sum += {hash.low64, hash.high64};
  }
  return sum;
}

Digest tensor_digest(const std::string& name, DType dtype, const Shape& shape, const ChunkSum& sum) {
  Text text;
  text.add("tensor");
  text.add(name);
  text.add(name_of(dtype));
  text.add(static_cast<uint64_t>(shape.rank()));
  for (int64_t extent : shape) text.add(static_cast<uint64_t>(extent));
  text.add(sum.low);
  text.add(sum.high);
  return text.digest();
}

Digest root_digest(const std::map<std::string, Digest>& tensors) {
  Text text;
  text.add("root");
  for (const auto& [name, digest] : tensors) {
    text.add(name);
    text.add(digest);
  }
  return text.digest();
}

}  // namespace shardit
