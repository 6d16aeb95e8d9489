// DDPM's variational term and its gradient (formulas in variational_bound.h). Bound by bytes: five or six operands
// once, about 40 operations for an element. t > 0 has the CPU's bits; the likelihood at t = 0 but for its exp, log and
// tanh.
#include "ops/variational_bound.h"

#include "ops/device_sums.h"

namespace shardit {
namespace {

using namespace variational_bound_terms;

constexpr int kThreads = 256;

// An image's elements, at one time step.
template <typename E, typename V> struct Image {
  const E* eps;
  const V* v;
  const float *x0, *xt;
  Constants<float> c;
  bool first_step;

  __device__ Term<float> term(float eps_at, float v_at, float x0_at, float xt_at) const {
    return first_step ? likelihood(c, eps_at, v_at, x0_at, xt_at) : divergence(c, eps_at, v_at, x0_at, xt_at);
  }
  __device__ double at(int64_t i) const {  // the loss of element i of the batch, in nats
    return static_cast<double>(term(eps[i], v[i], x0[i], xt[i]).loss);
  }
};

template <typename E, typename V> struct Operands {
  const E* eps;
  const V* v;
  const float *x0, *xt;
  const int64_t* t;
  const float* schedule;
  int64_t rows;

  explicit Operands(std::span<const TensorRef> in)
      : eps(in[0].as<E>()),
        v(in[1].as<V>()),
        x0(in[2].as<float>()),
        xt(in[3].as<float>()),
        t(in[4].as<int64_t>()),
        schedule(in[5].as<float>()),
        rows(in[5].shape()[0]) {
    for (int i : {2, 3, 5}) CHECK(in[i].dtype() == DType::kF32) << "variational_bound: input " << i << " is exact";
  }

  // A step outside the schedule stops the kernel.
  __device__ Image<E, V> operator()(int64_t image) const {
    const int64_t step = t[image];
    if (step < 0 || step >= rows) ptx::trap();
    return {eps, v, x0, xt, Constants<float>(schedule + step * kScheduleColumns), step == 0};
  }
};

struct ToBits {
  double per_bit;
  __device__ float operator()(double sum) const { return static_cast<float>(sum * per_bit); }
};

// dv = dloss * slope; a thread has a pack of one image.
template <int W, typename E, typename V, typename Y>
__global__ void __launch_bounds__(kThreads)
    grad_kernel(Operands<E, V> operands, const float* dloss, Y* dv, uint32_t packs, float per_bit) {
  const uint32_t in_image = blockIdx.x * kThreads + threadIdx.x, image = blockIdx.y;
  if (in_image >= packs) return;
  const int64_t pack = int64_t{image} * packs + in_image;
  const auto eps = device::load<W>(operands.eps, pack);
  const auto v = device::load<W>(operands.v, pack);
  const auto x0 = device::load<W>(operands.x0, pack), xt = device::load<W>(operands.xt, pack);
  const Image<E, V> terms = operands(image);
  const float factor = dloss[image] * per_bit;
  float out[W];
#pragma unroll
  for (int j = 0; j < W; ++j) out[j] = factor * terms.term(eps[j], v[j], x0[j], xt[j]).slope;
  device::store<W>(dv, pack, out);
}

}  // namespace

void variational_bound_cuda(const KernelArgs& k, void* stream) {
  const Shape& shape = k.in[0].shape();
  CHECK(k.out[0].dtype() == DType::kF32) << "a loss is exact";
  device::visit(k.in[0].dtype(), k.in[1].dtype(), [&]<typename E, typename V>(E, V) {
    device::image_sums(k, stream, shape, Operands<E, V>(k.in), ToBits{per_bit(shape.numel() / shape[0])});
  });
}

void variational_bound_grad_cuda(const KernelArgs& k, void* stream) {
  const Shape& shape = k.in[0].shape();
  const int64_t images = shape[0], elements = shape.numel() / images;
  CHECK(k.in[6].dtype() == DType::kF32) << "variational_bound_grad: the loss's gradient is exact";
  CHECK_LE(images, 65535) << "variational_bound_grad: a batch of " << images;
  device::visit(k.in[0].dtype(), k.in[1].dtype(), k.out[0].dtype(), [&]<typename E, typename V, typename Y>(E, V, Y) {
    device::visit_pack<float>(
        {elements}, {k.in[0].data, k.in[1].data, k.in[2].data, k.in[3].data, k.out[0].data}, [&](auto w) {
          const int64_t packs = elements / w;
          launch(grad_kernel<w, E, V, Y>,
                 dim3(static_cast<unsigned>(device::blocks_for(packs, kThreads)), static_cast<unsigned>(images)),
                 kThreads, 0, stream, Operands<E, V>(k.in), k.in[6].as<float>(), k.out[0].as<Y>(),
                 static_cast<uint32_t>(packs), static_cast<float>(per_bit(elements)));
        });
  });
}

}  // namespace shardit
