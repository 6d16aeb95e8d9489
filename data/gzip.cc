#include "data/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <memory>

#include <glog/logging.h>

#include "core/error.h"
#include "data/deflate.h"

namespace shardit {
namespace {

constexpr size_t kPiece = size_t{1} << 26;  // zlib counts in 32 bits: feed and drain it in pieces

// The last four bytes of a gzip file are its contents' size modulo 2^32. Only a hint until zlib has checked it, so it
// is capped by what deflate can reach.
size_t size_hint(const std::vector<uint8_t>& compressed) {
  const uint8_t* end = compressed.data() + compressed.size();
  if (compressed.size() < 18) return 64;
  const size_t stated = end[-4] | end[-3] << 8 | end[-2] << 16 | static_cast<size_t>(end[-1]) << 24;
  return std::min(stated, kDeflateRatio * compressed.size()) + 64;
}

}  // namespace

bool is_gzip(const std::vector<uint8_t>& bytes) { return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b; }

std::vector<uint8_t> gunzip(const std::vector<uint8_t>& compressed, const std::string& path) {
  z_stream stream{};
  CHECK_EQ(inflateInit2(&stream, 16 + MAX_WBITS), Z_OK);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);

  std::vector<uint8_t> out(size_hint(compressed));
  size_t taken = 0, made = 0;
  for (int status = Z_OK; status != Z_STREAM_END;) {
    if (made == out.size()) out.resize(2 * out.size());
    const size_t offered = std::min(kPiece, compressed.size() - taken), room = std::min(kPiece, out.size() - made);
    stream.next_in = const_cast<uint8_t*>(compressed.data() + taken);
    stream.avail_in = static_cast<uInt>(offered);
    stream.next_out = out.data() + made;
    stream.avail_out = static_cast<uInt>(room);
    status = inflate(&stream, Z_NO_FLUSH);
    taken += offered - stream.avail_in;
    made += room - stream.avail_out;
    if (status == Z_BUF_ERROR || (status == Z_OK && taken == compressed.size() && stream.avail_out > 0))
      throw IoError("'" + path + "' is cut short: its gzip stream has not ended after " + std::to_string(taken) +
                    " bytes (" + std::to_string(made) + " unpacked)\nfix: copy or download the file again");
    if (status != Z_OK && status != Z_STREAM_END)
      throw IoError("'" + path + "' is damaged near byte " + std::to_string(taken) + ": " +
                    (stream.msg ? stream.msg : "not a gzip stream") + "\nfix: copy or download the file again");
  }
  if (taken != compressed.size())
    throw IoError("'" + path + "' has " + std::to_string(compressed.size() - taken) +
                  " bytes after the end of its gzip stream: expected none");
  out.resize(made);
  return out;
}

}  // namespace shardit
