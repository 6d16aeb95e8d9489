#include "ops/linear.h"
#include "tests/gpu/bench.h"
#include "tests/gpu/bench_case.h"
#include "tests/ops/sample_graph.h"

namespace shardit {
namespace {

constexpr int64_t kTokens = 32 * 256;  // of a micro-batch: 32 images of 256 tokens or 8 of 1024
constexpr int kInARow = 10, kRepeats = 5, kCheckedElements = 256;

// A layer's product in one direction; `product` describes it, where an output holds it as it is.
struct ProductCase {
  Case timed;
  Product (*product)(const NodeTypes&) = nullptr;
  int out = 0;
};

struct Sizes {
  int64_t rows, k, m;
};

ProductCase forward(const std::string& name, Sizes s) {
  const auto build = one([](const auto& v) { return linear(v[0], v[1], v[2]); });
  return {{name + ", forward", &linear_card, kBf16, {f32({s.rows, s.k}), f32({s.m, s.k}), f32({s.m})}, build},
          [](const NodeTypes& n) { return linear_product(n, n.out[0].dtype); }};
}
ProductCase forward_gelu(const std::string& name, Sizes s) {
  const auto build = [](const std::vector<Value>& v) { return linear_gelu(v[0], v[1], v[2]); };
  return {
      {name + ", forward, gelu", &linear_gelu_card, kBf16, {f32({s.rows, s.k}), f32({s.m, s.k}), f32({s.m})}, build},
      [](const NodeTypes& n) { return linear_product(n, n.out[1].dtype); },
      1};
}
ProductCase dgrad(const std::string& name, Sizes s) {
  const auto build = one([](const auto& v) { return linear_dgrad(v[0], v[1]); });
  return {{name + ", dgrad", &linear_dgrad_card, kBf16, {f32({s.rows, s.m}), f32({s.m, s.k})}, build},
          [](const NodeTypes& n) { return linear_dgrad_product(n, n.out[0].dtype); }};
}
ProductCase dgrad_gelu(const std::string& name, Sizes s) {
  const auto build = one([](const auto& v) { return linear_dgrad_gelu(v[0], v[1], v[2]); });
  return {{name + ", dgrad, gelu_grad",
           &linear_dgrad_gelu_card,
           kBf16,
           {f32({s.rows, s.m}), f32({s.m, s.k}), f32({s.rows, s.k})},
           build}};
}
ProductCase wgrad(const std::string& name, Sizes s) {
  const auto build = one([=](const auto& v) { return linear_wgrad(v[0], v[1], {s.m, s.k}); });
  return {{name + ", wgrad", &linear_wgrad_card, kBf16, {f32({s.rows, s.m}), f32({s.rows, s.k})}, build},
          linear_wgrad_product};
}

std::vector<ProductCase> layer(const std::string& name, Sizes s) {
  return {forward(name, s), dgrad(name, s), wgrad(name, s)};
}

std::vector<ProductCase> diffit_xl() {
  constexpr int64_t C = 1152;
  const Sizes qkv{kTokens, C, 3 * C}, proj{kTokens, C, C}, up{kTokens, C, 4 * C}, down{kTokens, 4 * C, C};
  std::vector<ProductCase> cases;
  const auto add = [&](const std::vector<ProductCase>& more) { cases.insert(cases.end(), more.begin(), more.end()); };
  add(layer("qkv 1152 -> 3456", qkv));
  add(layer("proj 1152 -> 1152", proj));
  add(layer("mlp 1152 -> 4608", up));
  add({forward_gelu("mlp 1152 -> 4608", up)});
  add(layer("mlp 4608 -> 1152", down));
  add({dgrad_gelu("mlp 4608 -> 1152", down)});
  return cases;
}

Bytes bytes_of(const TensorRef& x) {
  Bytes bytes(static_cast<size_t>(x.type.bytes()));
  SHARDIT_CUDA(cudaMemcpy(bytes.data(), x.data, bytes.size(), cudaMemcpyDeviceToHost));
  return bytes;
}

// The largest error of some elements of the product, relative to the largest of them, against fp64 on the host.
double error_of(const TimedNode& node, const Product& p, const TensorRef& out) {
  std::vector<Bytes> bytes;
  std::vector<TensorRef> host;
  for (const TensorRef& x : node.in()) bytes.push_back(bytes_of(x));
  for (size_t i = 0; i < bytes.size(); ++i) host.push_back({bytes[i].data(), node.in()[i].type});
  Bytes result = bytes_of(out);
  const TensorRef c{result.data(), out.type};
  double error = 0, largest = 0;
  for (int64_t e = 0; e < kCheckedElements; ++e) {
    const int64_t row = e * 7919 % p.m, column = e * 104729 % p.n;
    double sum = p.bias ? element(host[2], column) : 0;
    for (int64_t l = 0; l < p.k; ++l)
      sum += element(host[0], row * p.a.row_stride + l * p.a.column_stride) *
             element(host[1], l * p.b.row_stride + column * p.b.column_stride);
    largest = std::max(largest, std::fabs(sum));
    error = std::max(error, std::fabs(element(c, row * p.c.row_stride + column) - sum));
  }
  return error / largest;
}

// A stream that copies within the device while other kernels run.
class BusyStream {
 public:
  BusyStream(Operands& operands) : from_(operands.make_empty(kBytes)), to_(operands.make_empty(kBytes)) {
    SHARDIT_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }
  ~BusyStream() { cudaStreamDestroy(stream_); }
  BusyStream(const BusyStream&) = delete;

  void copy() { SHARDIT_CUDA(cudaMemcpyAsync(to_, from_, kBytes, cudaMemcpyDeviceToDevice, stream_)); }

 private:
  static constexpr size_t kBytes = size_t{256} << 20;
  std::byte *from_, *to_;
  cudaStream_t stream_ = nullptr;
};

bool repeats(const TimedNode& node, Operands& operands) {
  BusyStream other(operands);
  node.launch();
  std::vector<Bytes> first;
  for (const TensorRef& out : node.out()) first.push_back(bytes_of(out));
  for (int run = 0; run < kRepeats; ++run) {
    for (const TensorRef& out : node.out())
      SHARDIT_CUDA(cudaMemset(out.data, 0xff, static_cast<size_t>(out.type.bytes())));
    other.copy();
    node.launch();
    SHARDIT_CUDA(cudaDeviceSynchronize());
    for (size_t o = 0; o < first.size(); ++o)
      if (bytes_of(node.out()[o]) != first[o]) return false;
  }
  return true;
}

ProductResult run_case(const ProductCase& c, Operands& operands) {
  const TimedNode node(c.timed, operands);
  ProductResult result{c.timed.name, node.cost().matmul_flops, median_ms([&] { node.launch(); }, kInARow)};
  if (c.product) {
    const TensorRef& out = node.out()[c.out];
    result.error = error_of(node, c.product(node.types()), out);
    result.bound = out.dtype() == DType::kBF16 ? 0x1p-8 : 1e-4;
  }
  result.repeats = repeats(node, operands);
  operands.clear();
  return result;
}

}  // namespace

std::vector<ProductResult> bench_products() {
  Operands operands(Signs::kBoth);
  std::vector<ProductResult> results;
  for (const ProductCase& c : layer("8192 -> 8192", {8192, 8192, 8192})) results.push_back(run_case(c, operands));
  std::sort(results.begin(), results.end(),
            [](const auto& a, const auto& b) { return a.milliseconds < b.milliseconds; });
  for (const ProductCase& c : diffit_xl()) results.push_back(run_case(c, operands));
  return results;
}

}  // namespace shardit
