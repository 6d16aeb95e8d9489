// Images to tokens and back (patchify.cc): a permutation of units of bytes. With the channel last, a row of a patch is
// one stretch in image and token; with the channel first, elements move one by one. The image's side is contiguous.
#include "ops/patchify.h"

#include "ops/device_move.h"

namespace shardit {
namespace {

constexpr int kThreads = 256;

// Where unit i of the image stands in the tokens.
struct Permutation {
  uint32_t across, patch, run;  // patches of a side; pixels of a patch's side; units of a patch's row
  uint32_t channels;            // channel first: units are elements; 0: channel last

  __device__ uint32_t operator()(uint32_t i) const {
    const uint32_t in_run = i % run, patch_column = i / run % across, line = i / run / across;
    const uint32_t row = line % patch, patch_row = line / patch;  // of all images
    const uint32_t token = (patch_row * across + patch_column) * patch * run;
    if (channels == 0) return token + row * run + in_run;
    return token + (in_run % channels * patch + row) * patch + in_run / channels;
  }
};

template <typename U, bool kToTokens>
__global__ void __launch_bounds__(kThreads) permute_kernel(const U* from, U* to, uint32_t units, Permutation tokens) {
  const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= units) return;
  if constexpr (kToTokens)
    to[tokens(i)] = from[i];
  else
    to[i] = from[tokens(i)];
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
        const Permutation tokens{static_cast<uint32_t>(image[1] / a.patch), static_cast<uint32_t>(a.patch),
                                 static_cast<uint32_t>(a.patch * channels * size / bytes),
                                 channel_first ? static_cast<uint32_t>(channels) : 0};
        CHECK(!channel_first || bytes == size) << "an element is moved in " << size / bytes << " units";
        launch(permute_kernel<U, kToTokens>, static_cast<unsigned>(device::blocks_for(units, kThreads)), kThreads, 0,
               stream, k.in[0].as<U>(), k.out[0].as<U>(), static_cast<uint32_t>(units), tokens);
      });
}

}  // namespace

void patchify_cuda(const KernelArgs& k, void* stream) { permute<true>(k, stream, k.in[0].shape()); }
void unpatchify_cuda(const KernelArgs& k, void* stream) { permute<false>(k, stream, k.out[0].shape()); }

}  // namespace shardit
