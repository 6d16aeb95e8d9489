// scale and mix with one factor per image (factors.cc). Bound by bytes; bit-equal to the CPU.
#include "ops/device_map.h"

namespace shardit {
namespace {

struct Product {
  __device__ float operator()(float a, float x) const { return a * x; }
};

struct Mix {
  __device__ float operator()(float a, float x, float b, float y) const { return fmaf(a, x, b * y); }
};

}  // namespace

void scale_cuda(const KernelArgs& k, void* stream) {
  const Shape& shape = k.out[0].shape();
  const int64_t n = shape.numel();
  if (n == 0) return;
  device::visit(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&]<typename A, typename X, typename Y>(A, X, Y) {
    device::visit_pack<X, Y>({n / shape[0]}, {k.in[1].data, k.out[0].data}, [&](auto v) {
      device::map<v>(stream, Product{}, k.out[0].as<Y>(), n,
                     device::PerImage<A>{k.in[0].as<A>(), device::packs_per_image(shape, v)},
                     device::Stream<X>{k.in[1].as<X>()});
    });
  });
}

void mix_cuda(const KernelArgs& k, void* stream) {
  const Shape& shape = k.out[0].shape();
  const int64_t n = shape.numel();
  if (n == 0) return;
  CHECK(k.in[0].dtype() == DType::kF32 && k.in[2].dtype() == DType::kF32) << "mix: factors are exact";
  device::visit(k.in[1].dtype(), k.in[3].dtype(), k.out[0].dtype(), [&]<typename X, typename Y, typename Z>(X, Y, Z) {
    device::visit_pack<X, Y, Z>({n / shape[0]}, {k.in[1].data, k.in[3].data, k.out[0].data}, [&](auto v) {
      const uint32_t packs = device::packs_per_image(shape, v);
      device::map<v>(stream, Mix{}, k.out[0].as<Z>(), n, device::PerImage<float>{k.in[0].as<float>(), packs},
                     device::Stream<X>{k.in[1].as<X>()}, device::PerImage<float>{k.in[2].as<float>(), packs},
                     device::Stream<Y>{k.in[3].as<Y>()});
    });
  });
}

}  // namespace shardit
