// Keyed draws (draw.cc), from the same source as the CPU's and with its bits. Normals are bound by arithmetic: about 70
// operations for an element. The others are a number or two per image.
#include "ops/draw.h"

#include "ops/device_map.h"

namespace shardit {
namespace {

constexpr int kThreads = 256;

// One thread draws a Philox block, four neighbours of an image; `lane` is null where there is none.
template <int V, typename T>
__global__ void __launch_bounds__(kThreads) draw_normal_kernel(Philox philox, const int64_t* ids, const int64_t* lane,
                                                               T* z, int64_t per_image, uint32_t blocks) {
  const uint32_t block = blockIdx.x * kThreads + threadIdx.x, image = blockIdx.y;
  if (block >= blocks) return;
  const Philox::Block bits = philox(static_cast<uint64_t>(ids[image]), block, lane ? static_cast<uint32_t>(*lane) : 0);
  float normals[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) normals[j] = normal_from_bits(bits.word[j]);
  T* to = z + image * per_image;
  if constexpr (V == 4) {
    device::store<4>(to, block, normals);
  } else {
    for (int j = 0; j < 4; ++j)
      if (block * int64_t{4} + j < per_image) to[block * int64_t{4} + j] = T(normals[j]);
  }
}

__global__ void __launch_bounds__(kThreads) sample_ids_kernel(const int64_t* counters, int64_t* ids, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) ids[i] = counters[0] + counters[1] * count + i;
}

__global__ void __launch_bounds__(kThreads)
    draw_integer_kernel(Philox philox, const int64_t* ids, int64_t* drawn, int64_t count, uint32_t n) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) drawn[i] = integer_at(philox, static_cast<uint64_t>(ids[i]), 0, n);
}

__global__ void __launch_bounds__(kThreads)
    drop_labels_kernel(Philox philox, const int64_t* labels, const int64_t* ids, int64_t* kept, int64_t count,
                       double probability, int64_t null_label) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) kept[i] = uniform_at(philox, static_cast<uint64_t>(ids[i]), 0) < probability ? null_label : labels[i];
}

struct ToReal {
  __device__ float operator()(float x) const { return x / 127.5f - 1.0f; }
};

unsigned blocks(int64_t count) { return static_cast<unsigned>(device::blocks_for(count, kThreads)); }

}  // namespace

void draw_normal_cuda(const KernelArgs& k, void* stream) {
  const int64_t per_image = k.attr<DrawAttrs>().per_image.numel(), images = k.in[0].numel();
  const int64_t *ids = k.in[0].as<int64_t>(), *lane = k.in.size() > 1 ? k.in[1].as<int64_t>() : nullptr;
  const int64_t philox_blocks = device::blocks_for(per_image, 4);
  CHECK_LE(images, 65535) << "draw_normal: a batch of " << images;
  device::visit(k.out[0].dtype(), [&]<typename T>(T) {
    device::visit_pack<float>({per_image}, {k.out[0].data}, [&](auto v) {
      launch(draw_normal_kernel<v, T>, dim3(blocks(philox_blocks), static_cast<unsigned>(images)), kThreads, 0, stream,
             k.attr<DrawAttrs>().philox(), ids, lane, k.out[0].as<T>(), per_image,
             static_cast<uint32_t>(philox_blocks));
    });
  });
}

void sample_ids_cuda(const KernelArgs& k, void* stream) {
  const int64_t count = k.out[0].numel();
  launch(sample_ids_kernel, blocks(count), kThreads, 0, stream, k.in[0].as<int64_t>(), k.out[0].as<int64_t>(), count);
}

void draw_integer_cuda(const KernelArgs& k, void* stream) {
  const DrawAttrs& a = k.attr<DrawAttrs>();
  launch(draw_integer_kernel, blocks(k.out[0].numel()), kThreads, 0, stream, a.philox(), k.in[0].as<int64_t>(),
         k.out[0].as<int64_t>(), k.out[0].numel(), static_cast<uint32_t>(a.n));
}

void drop_labels_cuda(const KernelArgs& k, void* stream) {
  const DrawAttrs& a = k.attr<DrawAttrs>();
  launch(drop_labels_kernel, blocks(k.out[0].numel()), kThreads, 0, stream, a.philox(), k.in[0].as<int64_t>(),
         k.in[1].as<int64_t>(), k.out[0].as<int64_t>(), k.out[0].numel(), a.probability, a.n);
}

void image_to_real_cuda(const KernelArgs& k, void* stream) {
  const int64_t n = k.out[0].numel();
  device::visit(k.out[0].dtype(), [&]<typename Y>(Y) {
    device::visit_pack<Y>({n}, {k.in[0].data, k.out[0].data}, [&](auto v) {
      device::map<v>(stream, ToReal{}, k.out[0].as<Y>(), n, device::Stream<uint8_t>{k.in[0].as<uint8_t>()});
    });
  });
}

}  // namespace shardit
