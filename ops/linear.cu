// Linear layers on the GPU: products by cuBLASLt, bound by flops. In bf16 GELU is the library's epilogue, where the
// operands suit it; it reads z before z is rounded to its stored type. What else follows a product is a kernel of ours,
// bound by bytes.
#include "ops/linear.h"

#include "ops/cublaslt.h"

namespace shardit {

void gelu_cuda(const KernelArgs& k, void* stream);
void gelu_grad_cuda(const KernelArgs& k, void* stream);
void sum_leading_cuda(const KernelArgs& k, void* stream);

namespace {

std::unique_ptr<Prepared> prepare(const Product& product) { return std::make_unique<DeviceProduct>(product); }

// A product with the library's epilogue, and without it for operands that do not suit the library.
struct FusedProduct : Prepared {
  DeviceProduct plain;
  std::unique_ptr<DeviceProduct> fused;

  FusedProduct(Product product, Epilogue epilogue) : plain(product) {
    if (!takes_epilogue(product)) return;
    product.epilogue = epilogue;
    fused = std::make_unique<DeviceProduct>(product);
  }

  // The product and its epilogue, or nothing and false where the addresses do not suit.
  bool run_fused(const ProductOperands& operands, std::byte* workspace, void* stream) const {
    if (!fused || !is_wide(operands)) return false;
    fused->run(operands, workspace, stream);
    return true;
  }
};

const FusedProduct& fused_product(const KernelArgs& k) { return static_cast<const FusedProduct&>(*k.prepared); }

}  // namespace

std::unique_ptr<Prepared> linear_cuda_prepare(const NodeTypes& n) { return prepare(linear_product(n, n.out[0].dtype)); }
std::unique_ptr<Prepared> linear_dgrad_cuda_prepare(const NodeTypes& n) {
  return prepare(linear_dgrad_product(n, n.out[0].dtype));
}
std::unique_ptr<Prepared> linear_wgrad_cuda_prepare(const NodeTypes& n) { return prepare(linear_wgrad_product(n)); }
std::unique_ptr<Prepared> linear_gelu_cuda_prepare(const NodeTypes& n) {
  return std::make_unique<FusedProduct>(linear_product(n, n.out[1].dtype), Epilogue::kGelu);
}
std::unique_ptr<Prepared> linear_dgrad_gelu_cuda_prepare(const NodeTypes& n) {
  return std::make_unique<FusedProduct>(linear_dgrad_product(n, n.out[0].dtype), Epilogue::kGeluGrad);
}

// The product alone: linear and its two gradients.
void linear_cuda(const KernelArgs& k, void* stream) {
  static_cast<const DeviceProduct&>(*k.prepared)
      .run({k.in[0].data, k.in[1].data, bias_of(k), k.out[0].data}, k.workspace, stream);
}

// out = (gelu(z), z)
void linear_gelu_cuda(const KernelArgs& k, void* stream) {
  const void *x = k.in[0].data, *w = k.in[1].data;
  void *y = k.out[0].data, *z = k.out[1].data;
  const FusedProduct& product = fused_product(k);
  if (product.run_fused({x, w, bias_of(k), y, z}, k.workspace, stream)) return;
  product.plain.run({x, w, bias_of(k), z}, k.workspace, stream);
  gelu_cuda({.in = {&k.out[1], 1}, .out = {&k.out[0], 1}}, stream);
}

// in = (dy, w, z)
void linear_dgrad_gelu_cuda(const KernelArgs& k, void* stream) {
  const void *dy = k.in[0].data, *w = k.in[1].data;
  const FusedProduct& product = fused_product(k);
  if (product.run_fused({dy, w, nullptr, k.out[0].data, k.in[2].data}, k.workspace, stream)) return;
  product.plain.run({dy, w, nullptr, k.out[0].data}, k.workspace, stream);
  const TensorRef in[] = {k.in[2], k.out[0]};
  gelu_grad_cuda({.in = in, .out = {&k.out[0], 1}}, stream);
}

// in = (dy, x), out = (dw, db). The library's BGRADB makes the product as much slower as the sums take by themselves.
void linear_wgrad_bias_cuda(const KernelArgs& k, void* stream) {
  linear_cuda(k, stream);
  sum_leading_cuda({.in = {&k.in[0], 1}, .out = {&k.out[1], 1}, .workspace = k.workspace}, stream);
}

}  // namespace shardit
