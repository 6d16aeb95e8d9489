// pack (unit.cc): zeros where no tensor of a unit lies, which is at most a chunk behind each tensor. One launch for all
// stretches, a block for each.
#include "ops/unit.h"

#include "ops/device.h"

namespace shardit {
namespace {

constexpr int kThreads = 256;

struct Gaps {
  static constexpr int kMost = 120;
  int64_t begin[kMost], end[kMost];  // bytes; even, as no element is smaller than two
  int count = 0;
};

__global__ void __launch_bounds__(kThreads) zero_gaps_kernel(unsigned char* flat, Gaps gaps) {
  auto* words = reinterpret_cast<uint16_t*>(flat);
  for (int64_t i = gaps.begin[blockIdx.x] / 2 + threadIdx.x; i < gaps.end[blockIdx.x] / 2; i += kThreads) words[i] = 0;
}

void zero(void* stream, unsigned char* flat, Gaps& gaps) {
  if (gaps.count > 0) launch(zero_gaps_kernel, static_cast<unsigned>(gaps.count), kThreads, 0, stream, flat, gaps);
  gaps.count = 0;
}

}  // namespace

void pack_cuda(const KernelArgs& k, void* stream) {
  const auto bytes = static_cast<int64_t>(size_of(k.out[0].dtype()));
  Gaps gaps;
  for_gaps(k.attr<UnitAttrs>(), [&](int64_t begin, int64_t end) {
    if (begin == end) return;
    gaps.begin[gaps.count] = begin * bytes;
    gaps.end[gaps.count++] = end * bytes;
    if (gaps.count == Gaps::kMost) zero(stream, k.out[0].as<unsigned char>(), gaps);
  });
  zero(stream, k.out[0].as<unsigned char>(), gaps);
}

}  // namespace shardit
