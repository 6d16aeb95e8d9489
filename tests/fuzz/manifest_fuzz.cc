// A checkpoint's manifest: the input as the whole file, and as the message in a frame whose checksums hold. What is
// accepted can be described, and written again.
#include "checkpoints/inspect.h"
#include "checkpoints/manifest.h"
#include "tests/fuzz/forge.h"

using namespace shardit;

namespace {

void decode(const std::string& bytes) {
  try {
    const Checkpoint checkpoint{"input", decode_manifest(bytes, "input")};
    describe_text(checkpoint, true);
    describe_json(checkpoint);
    decode_manifest(encode_manifest(checkpoint.manifest), "again");
  } catch (const IoError&) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(data, data + size);
  decode(input);
  decode(framed(input));
  decode(framed(forged(input, {})));
  return 0;
}
