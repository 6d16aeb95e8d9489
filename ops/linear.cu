// Linear layers on the GPU: products by cuBLASLt, bound by flops, and GELU after them as the plain op's kernel, bound
// by bytes. The library's own GELU would read z before it is rounded to its stored type, and so differ from the ops
// apart.
#include "ops/linear.h"

#include "ops/cublaslt.h"

namespace shardit {

void gelu_cuda(const KernelArgs& k, void* stream);
void gelu_grad_cuda(const KernelArgs& k, void* stream);

namespace {

void multiply(const KernelArgs& k, const void* bias, const TensorRef& out, void* stream) {
  static_cast<const DeviceProduct&>(*k.prepared).run(k.in[0].data, k.in[1].data, bias, out.data, k.workspace, stream);
}

const void* bias_of(const KernelArgs& k) { return k.in.size() > 2 ? k.in[2].data : nullptr; }

std::unique_ptr<Prepared> prepare(const Product& product) { return std::make_unique<DeviceProduct>(product); }

}  // namespace

std::unique_ptr<Prepared> linear_cuda_prepare(const NodeTypes& n) { return prepare(linear_product(n, n.out[0].dtype)); }
std::unique_ptr<Prepared> linear_dgrad_cuda_prepare(const NodeTypes& n) {
  return prepare(linear_dgrad_product(n, n.out[0].dtype));
}
std::unique_ptr<Prepared> linear_wgrad_cuda_prepare(const NodeTypes& n) { return prepare(linear_wgrad_product(n)); }
std::unique_ptr<Prepared> linear_gelu_cuda_prepare(const NodeTypes& n) {
  return prepare(linear_product(n, n.out[1].dtype));
}

// linear and its two gradients.
void linear_cuda(const KernelArgs& k, void* stream) { multiply(k, bias_of(k), k.out[0], stream); }

// out = (gelu(z), z)
void linear_gelu_cuda(const KernelArgs& k, void* stream) {
  multiply(k, bias_of(k), k.out[1], stream);
  gelu_cuda({.in = {&k.out[1], 1}, .out = {&k.out[0], 1}}, stream);
}

// in = (dy, w, z)
void linear_dgrad_gelu_cuda(const KernelArgs& k, void* stream) {
  multiply(k, nullptr, k.out[0], stream);
  const TensorRef in[] = {k.in[2], k.out[0]};
  gelu_grad_cuda({.in = in, .out = {&k.out[0], 1}}, stream);
}

}  // namespace shardit
