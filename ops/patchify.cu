// Images to tokens and back (patchify.cc): a permutation of units of bytes. With the channel last, a row of a patch is
// one stretch in image and token; with the channel first, elements of the image are gathered for a stretch of a token.
#include "ops/patchify.h"

#include "ops/device_move.h"

namespace shardit {
namespace {

constexpr int kThreads = 256;

// n / divisor, n % divisor by a product and a shift; a division costs more than all else that moves an element.
struct Divider {
  uint32_t divisor, factor, shift;

  explicit Divider(int64_t d) : divisor(static_cast<uint32_t>(d)), shift(0) {
    while ((uint64_t{1} << shift) < divisor) ++shift;
    factor = static_cast<uint32_t>((((uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }
  __device__ uint32_t quotient(uint32_t n) const {
    return static_cast<uint32_t>(((uint64_t{n} * factor >> 32) + n) >> shift);
  }
  __device__ uint32_t rest(uint32_t n, uint32_t quotient) const { return n - quotient * divisor; }
};

// Where units of the tokens stand in the image.
struct Permutation {
  Divider across, patch, run, token;  // patches of a side; pixels of a patch's side; units of a patch's row, of a token
  Divider plane;                      // pixels of a patch
  uint32_t channels;                  // channel first: units are elements; 0: channel last

  __device__ uint32_t patch_of(uint32_t t) const {
    const uint32_t patch_row = across.quotient(t), patch_column = across.rest(t, patch_row);
    return (patch_row * patch.divisor * across.divisor + patch_column) * run.divisor;
  }
  __device__ uint32_t within_patch(uint32_t in_token) const {
    uint32_t row, in_run;
    if (channels == 0) {
      row = run.quotient(in_token);
      in_run = run.rest(in_token, row);
    } else {
      const uint32_t channel = plane.quotient(in_token), pixel = plane.rest(in_token, channel);
      row = patch.quotient(pixel);
      in_run = patch.rest(pixel, row) * channels + channel;
    }
    return row * across.divisor * run.divisor + in_run;
  }
};

// Neighbours in a token, which one access loads or stores.
template <typename U, int kUnits> struct alignas(kUnits * sizeof(U)) Neighbours { U at[kUnits]; };

template <typename U, int kUnits, bool kToTokens>
__global__ void __launch_bounds__(kThreads) permute_kernel(const U* from, U* to, uint32_t packs, Permutation image) {
  using Pack = Neighbours<U, kUnits>;
  const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= packs) return;
  const uint32_t t = image.token.quotient(i * kUnits), first = image.token.rest(i * kUnits, t);
  const uint32_t patch = image.patch_of(t);
  if constexpr (kToTokens) {
    Pack pack;
#pragma unroll
    for (int u = 0; u < kUnits; ++u) pack.at[u] = from[patch + image.within_patch(first + u)];
    reinterpret_cast<Pack*>(to)[i] = pack;
  } else {
    const Pack pack = reinterpret_cast<const Pack*>(from)[i];
#pragma unroll
    for (int u = 0; u < kUnits; ++u) to[patch + image.within_patch(first + u)] = pack.at[u];
  }
}

// In units U of the image, kUnits of them together where they stand in a token.
template <typename U, int kUnits, bool kToTokens> void permute(const KernelArgs& k, void* stream, const Shape& image) {
  const auto& a = k.attr<PatchAttrs>();
  const auto row_bytes = a.patch * image[3] * static_cast<int64_t>(size_of(k.out[0].dtype()));
  const int64_t units = k.out[0].type.bytes() / static_cast<int64_t>(sizeof(U)), packs = units / kUnits;
  const int64_t run = row_bytes / static_cast<int64_t>(sizeof(U));
  CHECK_LT(units, int64_t{1} << 32) << "patches of " << units << " units";
  const Permutation in_image{Divider(image[1] / a.patch),
                             Divider(a.patch),
                             Divider(run),
                             Divider(a.patch * run),
                             Divider(a.patch * a.patch),
                             a.order == PatchOrder::kChannelFirst ? static_cast<uint32_t>(image[3]) : 0};
  launch(permute_kernel<U, kUnits, kToTokens>, static_cast<unsigned>(device::blocks_for(packs, kThreads)), kThreads, 0,
         stream, k.in[0].as<U>(), k.out[0].as<U>(), static_cast<uint32_t>(packs), in_image);
}

template <bool kToTokens> void permute(const KernelArgs& k, void* stream, const Shape& image) {
  const auto& a = k.attr<PatchAttrs>();
  const auto size = static_cast<int64_t>(size_of(k.out[0].dtype()));
  const int64_t row_bytes = a.patch * image[3] * size;
  CHECK(k.in[0].dtype() == k.out[0].dtype()) << "a permutation changes no types";
  if (a.order == PatchOrder::kChannelLast)
    return device::visit_unit({row_bytes}, {k.in[0].data, k.out[0].data},
                              [&](auto bytes) { permute<device::Unit<bytes>, 1, kToTokens>(k, stream, image); });
  const void* const tokens = kToTokens ? k.out[0].data : k.in[0].data;
  device::visit_unit({size}, {}, [&](auto element) {
    device::visit_unit({a.patch * row_bytes}, {tokens}, [&](auto bytes) {
      permute<device::Unit<element>, std::max(1, bytes / element), kToTokens>(k, stream, image);
    });
  });
}

}  // namespace

void patchify_cuda(const KernelArgs& k, void* stream) { permute<true>(k, stream, k.in[0].shape()); }
void unpatchify_cuda(const KernelArgs& k, void* stream) { permute<false>(k, stream, k.out[0].shape()); }

}  // namespace shardit
