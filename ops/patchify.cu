// Images to tokens and back (patchify.cc): a permutation of units of bytes. With the channel last, a row of a patch is
// one stretch in image and token; with the channel first, elements move one by one. The image's side is contiguous.
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

// Where unit i of the tokens stands in the image. A warp of neighbours in a token meets whole sectors of both.
struct Permutation {
  Divider across, patch, run, token;  // patches of a side; pixels of a patch's side; units of a patch's row, of a token
  Divider plane;                      // pixels of a patch
  uint32_t channels;                  // channel first: units are elements; 0: channel last

  __device__ uint32_t operator()(uint32_t i) const {
    const uint32_t t = token.quotient(i), in_token = token.rest(i, t);
    const uint32_t patch_row = across.quotient(t), patch_column = across.rest(t, patch_row);
    uint32_t row, in_run;
    if (channels == 0) {
      row = run.quotient(in_token);
      in_run = run.rest(in_token, row);
    } else {
      const uint32_t channel = plane.quotient(in_token), pixel = plane.rest(in_token, channel);
      row = patch.quotient(pixel);
      in_run = patch.rest(pixel, row) * channels + channel;
    }
    return ((patch_row * patch.divisor + row) * across.divisor + patch_column) * run.divisor + in_run;
  }
};

template <typename U, bool kToTokens>
__global__ void __launch_bounds__(kThreads) permute_kernel(const U* from, U* to, uint32_t units, Permutation image) {
  const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= units) return;
  if constexpr (kToTokens)
    to[i] = from[image(i)];
  else
    to[image(i)] = from[i];
}

template <bool kToTokens> void permute(const KernelArgs& k, void* stream, const Shape& image) {
  const auto& a = k.attr<PatchAttrs>();
  const int64_t size = static_cast<int64_t>(size_of(k.out[0].dtype())), channels = image[3];
  const bool channel_first = a.order == PatchOrder::kChannelFirst;
  CHECK(k.in[0].dtype() == k.out[0].dtype()) << "a permutation changes no types";
  device::visit_unit(
      {channel_first ? size : a.patch * channels * size}, {k.in[0].data, k.out[0].data}, [&](auto bytes) {
        using U = device::Unit<bytes>;
        const int64_t units = k.out[0].type.bytes() / bytes;
        CHECK_LT(units, int64_t{1} << 32) << "patches of " << units << " units";
        const int64_t run = a.patch * channels * size / bytes;
        const Permutation in_image{Divider(image[1] / a.patch),
                                   Divider(a.patch),
                                   Divider(run),
                                   Divider(a.patch * run),
                                   Divider(a.patch * a.patch),
                                   channel_first ? static_cast<uint32_t>(channels) : 0};
        CHECK(!channel_first || bytes == size) << "an element is moved in " << size / bytes << " units";
        launch(permute_kernel<U, kToTokens>, static_cast<unsigned>(device::blocks_for(units, kThreads)), kThreads, 0,
               stream, k.in[0].as<U>(), k.out[0].as<U>(), static_cast<uint32_t>(units), in_image);
      });
}

}  // namespace

void patchify_cuda(const KernelArgs& k, void* stream) { permute<true>(k, stream, k.in[0].shape()); }
void unpatchify_cuda(const KernelArgs& k, void* stream) { permute<false>(k, stream, k.out[0].shape()); }

}  // namespace shardit
