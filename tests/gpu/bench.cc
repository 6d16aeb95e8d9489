#include "tests/gpu/bench.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <glog/logging.h>
#include "core/layout.h"
#include "ops/cast.h"
#include "ops/ops.h"
#include "tests/gpu/device_memory.h"

namespace shardit {
namespace {

constexpr int kWarmUp = 3, kRuns = 25;

struct Events {
  cudaEvent_t begin, end;
  Events() {
    SHARDIT_CUDA(cudaEventCreate(&begin));
    SHARDIT_CUDA(cudaEventCreate(&end));
  }
  ~Events() {
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
  }
};

// The median time of a launch, in milliseconds.
double median_ms(const std::function<void()>& launch) {
  const Events events;
  std::vector<float> times;
  for (int i = 0; i < kWarmUp + kRuns; ++i) {
    SHARDIT_CUDA(cudaEventRecord(events.begin, nullptr));
    launch();
    SHARDIT_CUDA(cudaEventRecord(events.end, nullptr));
    SHARDIT_CUDA(cudaEventSynchronize(events.end));
    float ms = 0;
    SHARDIT_CUDA(cudaEventElapsedTime(&ms, events.begin, events.end));
    if (i >= kWarmUp) times.push_back(ms);
  }
  std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  return times[kRuns / 2];
}

// ---- cases -------------------------------------------------------------------------------------------------------

using Builder = std::function<std::vector<Value>(const std::vector<Value>&)>;

// An op on inputs of these types, built in fp32 and cast to `precision`; its node of the card is timed.
struct Case {
  std::string name;
  const OpCard* card;
  Precision precision;
  std::vector<Type> in;
  Builder build;
  std::function<int64_t(int64_t)> integer = [](int64_t i) { return i; };
  double bytes = 0;  // where fewer move than the card's cost says
};

const Precision kFp32{};
const Precision kBf16{.compute = DType::kBF16, .residual = DType::kBF16, .reduce = DType::kBF16};
const Precision kMixed{.compute = DType::kBF16, .residual = DType::kF32, .reduce = DType::kF32};

// DiffiT-XL/2: 1152 channels; 262144 rows are 1024 images of 256 tokens or 256 images of 1024 tokens.
constexpr int64_t kChannels = 1152, kRows = 262144, kTokens = 256;
constexpr int64_t kParameters = 97656 * kChunk;  // 100 M
constexpr int64_t kImages = 8192;                // latents of 64 x 64 x 4

Type f32(Shape shape) { return {DType::kF32, shape}; }
Type i64(Shape shape) { return {DType::kI64, shape}; }
Builder one(std::function<Value(const std::vector<Value>&)> f) {
  return [f](const std::vector<Value>& v) { return std::vector{f(v)}; };
}

void add_token_cases(std::vector<Case>& cases) {
  const Type x = f32({kRows, kChannels}), row = f32({kRows});
  const Builder norm = [](const auto& v) { return layer_norm(v[0], 1e-6); };
  const Builder norm_grad = one([](const auto& v) { return layer_norm_grad(v[0], v[1], v[2], v[3]); });
  cases.push_back({"layer_norm fp32 -> bf16", &layer_norm_card, kMixed, {x}, norm});
  cases.push_back({"layer_norm bf16", &layer_norm_card, kBf16, {x}, norm});
  cases.push_back({"layer_norm fp32", &layer_norm_card, kFp32, {x}, norm});
  cases.push_back({"layer_norm_grad bf16, fp32", &layer_norm_grad_card, kMixed, {x, x, row, row}, norm_grad});
  cases.push_back({"layer_norm_grad bf16", &layer_norm_grad_card, kBf16, {x, x, row, row}, norm_grad});
  cases.push_back({"layer_norm_grad fp32", &layer_norm_grad_card, kFp32, {x, x, row, row}, norm_grad});
  const Type images = f32({kRows / kTokens, kTokens, kChannels}), table = f32({kTokens, kChannels});
  const Builder sum = one([](const auto& v) { return add(residual_stream(v[0]), gelu(v[1])); });
  const Builder plain = one([](const auto& v) { return add(v[0], v[1]); });
  cases.push_back({"add fp32 + bf16", &add_card, kMixed, {x, x}, sum});
  cases.push_back({"add bf16", &add_card, kBf16, {x, x}, sum});
  cases.push_back({"add fp32, broadcast", &add_card, kFp32, {images, table}, plain});
  for (const int64_t columns : {kChannels, 4 * kChannels})
    cases.push_back({"sum_leading bf16, " + std::to_string(columns) + " columns",
                     &sum_leading_card,
                     kBf16,
                     {f32({kRows, columns})},
                     one([=](const auto& v) { return sum_leading(gelu(v[0]), {columns}); })});
  const Type wide = f32({kRows, 2 * kChannels});
  cases.push_back({"gelu bf16", &gelu_card, kBf16, {wide}, one([](const auto& v) { return gelu(v[0]); })});
  cases.push_back({"gelu fp32", &gelu_card, kFp32, {x}, one([](const auto& v) { return gelu(v[0]); })});
  cases.push_back({"gelu_grad bf16", &gelu_grad_card, kBf16, {wide, wide}, one([](const auto& v) {
                     return gelu_grad(v[0], v[1]);
                   })});
  cases.push_back({"silu bf16", &silu_card, kBf16, {wide}, one([](const auto& v) { return silu(v[0]); })});
  cases.push_back({"silu_grad bf16", &silu_grad_card, kBf16, {wide, wide}, one([](const auto& v) {
                     return silu_grad(v[0], v[1]);
                   })});
}

void add_image_cases(std::vector<Case>& cases) {
  const Type image = f32({kImages, 64, 64, 4}), factor = f32({kImages});
  cases.push_back(
      {"scale fp32", &scale_card, kFp32, {factor, image}, one([](const auto& v) { return scale(v[0], v[1]); })});
  cases.push_back({"mix fp32", &mix_card, kFp32, {factor, image, factor, image}, one([](const auto& v) {
                     return mix(v[0], v[1], v[2], v[3]);
                   })});
}

void add_moving_cases(std::vector<Case>& cases) {
  const Type x = f32({kRows, kChannels}), both = f32({kRows, 2 * kChannels});
  const Type image = f32({kImages, 64, 64, 4}), ids = i64({kImages}), row = i64({kRows});
  const auto to_bf16 = one([](const auto& v) { return cast(v[0], DType::kBF16); });
  const auto to_fp32 = one([](const auto& v) { return cast(cast(v[0], DType::kBF16), DType::kF32); });
  cases.push_back({"cast fp32 -> bf16", &cast_card, kFp32, {x}, to_bf16});
  cases.push_back({"cast bf16 -> fp32", &cast_card, kFp32, {x}, to_fp32});
  cases.push_back({"copy fp32", &copy_card, kFp32, {x}, one([](const auto& v) { return copy(v[0]); })});
  cases.push_back({"split_last fp32", &split_last_card, kFp32, {both}, [](const auto& v) {
                     return split_last(v[0], {kChannels, kChannels});
                   }});
  cases.push_back({"concat_last fp32", &concat_last_card, kFp32, {x, x}, one([](const auto& v) {
                     return concat_last({v[0], v[1]});
                   })});
  cases.push_back({"patchify fp32, channel first", &patchify_card, kFp32, {image}, one([](const auto& v) {
                     return patchify(v[0], 2, PatchOrder::kChannelFirst);
                   })});
  cases.push_back({"patchify fp32, channel last", &patchify_card, kFp32, {image}, one([](const auto& v) {
                     return patchify(v[0], 2, PatchOrder::kChannelLast);
                   })});
  cases.push_back(
      {"unpatchify fp32, channel last", &unpatchify_card, kFp32, {f32({kImages, 1024, 16})}, one([](const auto& v) {
         return unpatchify(v[0], 2, 4, PatchOrder::kChannelLast);
       })});
  cases.push_back({"embedding bf16",
                   &embedding_card,
                   kBf16,
                   {f32({1001, kChannels}), row},
                   one([](const auto& v) { return embedding(v[0], v[1]); }),
                   [](int64_t i) { return i * 7 % 1001; }});
  cases.push_back({"embedding_grad bf16, batch 256",
                   &embedding_grad_card,
                   kBf16,
                   {f32({256, kChannels}), i64({256})},
                   one([](const auto& v) {
                     return embedding_grad(v[0], v[1], {1001, kChannels});
                   }),
                   [](int64_t i) { return i * 7 % 1001; }});
  cases.push_back({"draw_normal", &draw_normal_card, kFp32, {ids}, one([](const auto& v) {
                     return draw_normal(v[0], {64, 64, 4}, 5, Purpose::kNoise);
                   })});
  cases.push_back(
      {"image_to_real", &image_to_real_card, kFp32, {{DType::kU8, {1024, 256, 256, 3}}}, one([](const auto& v) {
         return image_to_real(v[0]);
       })});
  cases.push_back({"mean_squared_error fp32", &mean_squared_error_card, kFp32, {image, image}, one([](const auto& v) {
                     return mean_squared_error(v[0], v[1]);
                   })});
  cases.push_back({"mean_squared_error_grad fp32",
                   &mean_squared_error_grad_card,
                   kFp32,
                   {f32({kImages}), image, image},
                   one([](const auto& v) { return mean_squared_error_grad(v[0], v[1], v[2]); })});
}

void add_optimizer_cases(std::vector<Case>& cases) {
  const Type flat = f32({kParameters});
  for (const int emas : {0, 1, 2, 3}) {
    AdamWAttrs attrs;
    attrs.weight_decay = 0.01;
    attrs.emas = emas;
    std::vector<Type> in = {flat, flat, flat, flat, {DType::kF64, {3}}, {DType::kF64, {3 + emas}}};
    in.insert(in.end(), static_cast<size_t>(emas), flat);
    const auto build = [attrs](const std::vector<Value>& v) {
      const std::vector<Value> ema(v.begin() + 6, v.end());
      return adamw({v[0], v[1], v[2], ema}, v[3], v[4], v[5], attrs, true);
    };
    cases.push_back({"adamw_copy, " + std::to_string(emas) + " EMAs", &adamw_copy_card, kBf16, in, build});
  }
  const FoldOrder order{.terms = 32, .group = 8};
  const auto fold_of = [=](DType reduce) {
    return [=](const std::vector<Value>& v) { return fold(v[2], v[3], cast(v[0], reduce), v[1], order); };
  };
  const auto at = [](int64_t term) { return [=](int64_t i) { return i == 1 ? term : 0; }; };
  const std::vector<Type> in = {flat, i64({2}), flat, flat};
  cases.push_back(
      {"fold fp32, inside a group", &fold_card, kFp32, in, fold_of(DType::kF32), at(3), 12.0 * kParameters});
  cases.push_back(
      {"fold bf16, inside a group", &fold_card, kFp32, in, fold_of(DType::kBF16), at(3), 10.0 * kParameters});
  cases.push_back({"fold fp32, end of a group", &fold_card, kFp32, in, fold_of(DType::kF32), at(15)});
  cases.push_back(
      {"sum_groups fp32, 8 terms", &sum_groups_card, kFp32, {f32({8 * kParameters / 4})}, one([](const auto& v) {
         return sum_groups(v[0], 1, 8);
       })});
}

// ---- running them --------------------------------------------------------------------------------------------------

const Node& node_of(const Graph& graph, const OpCard* card) {
  for (int n = graph.node_count() - 1; n >= 0; --n)
    if (graph.node(n).card == card) return graph.node(n);
  LOG(FATAL) << "the case has no node of " << card->name;
}

// Device memory full of plausible numbers: positive ones, so that they may stand for variances.
class Operands {
 public:
  Operands() : arena_(size_t{12} << 30) {
    const Philox philox(1, Purpose::kSynthetic);
    std::vector<float> f32(kPool);
    std::vector<BF16> bf16(kPool);
    for (size_t i = 0; i < kPool; ++i) bf16[i] = BF16(f32[i] = std::fabs(normal_at(philox, 0, i)));
    f32_ = arena_.allocate(kPool * sizeof(float));
    bf16_ = arena_.allocate(kPool * sizeof(BF16));
    arena_.copy_in(f32_, reinterpret_cast<std::byte*>(f32.data()), kPool * sizeof(float));
    arena_.copy_in(bf16_, reinterpret_cast<std::byte*>(bf16.data()), kPool * sizeof(BF16));
  }

  std::byte* make(const Type& type, const std::function<int64_t(int64_t)>& integer) {
    const auto bytes = static_cast<size_t>(type.bytes());
    std::byte* to = arena_.allocate(bytes);
    if (type.dtype == DType::kF32 || type.dtype == DType::kU8) repeat(f32_, kPool * sizeof(float), to, bytes);
    if (type.dtype == DType::kBF16) repeat(bf16_, kPool * sizeof(BF16), to, bytes);
    if (type.dtype == DType::kF64) upload(std::vector<double>(static_cast<size_t>(type.shape.numel()), 0.5), to);
    if (type.dtype == DType::kI64) {
      std::vector<int64_t> values(static_cast<size_t>(type.shape.numel()));
      for (size_t i = 0; i < values.size(); ++i) values[i] = integer(static_cast<int64_t>(i));
      upload(values, to);
    }
    return to;
  }
  std::byte* make_empty(size_t bytes) { return arena_.allocate(bytes); }
  // All that was made is free again.
  void clear() { arena_.rewind(bf16_ + kPool * sizeof(BF16)); }

 private:
  static constexpr size_t kPool = size_t{1} << 22;

  void repeat(const std::byte* from, size_t pool, std::byte* to, size_t bytes) {
    for (size_t at = 0; at < bytes; at += pool) arena_.copy_in(to + at, from, std::min(pool, bytes - at));
  }
  template <typename T> void upload(const std::vector<T>& values, std::byte* to) {
    arena_.copy_in(to, reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T));
  }

  DeviceArena arena_;
  std::byte *f32_, *bf16_;
};

BenchResult run_case(const Case& c, Operands& operands) {
  Graph graph(DType::kF32);
  std::vector<Value> in;
  for (size_t i = 0; i < c.in.size(); ++i)
    in.push_back(input(graph, "in" + std::to_string(i), c.in[i], BufferClass::kActivations));
  c.build(in);
  const Graph cast_graph = apply_precision(graph, c.precision);
  const Node& node = node_of(cast_graph, c.card);
  const NodeTypes types = types_of(cast_graph, node);

  std::vector<TensorRef> in_refs, out_refs;
  for (const Type& type : types.in) in_refs.push_back({operands.make(type, c.integer), type});
  for (const Type& type : types.out) out_refs.push_back({nullptr, type});
  for (const Alias& a : c.card->alias ? c.card->alias(types) : std::vector<Alias>{})
    if (a.kind == Alias::kUpdate) out_refs[a.out].data = in_refs[a.in].data;
  for (TensorRef& out : out_refs)
    if (!out.data) out.data = operands.make_empty(static_cast<size_t>(out.type.bytes()));
  const int64_t scratch = c.card->cuda_workspace ? c.card->cuda_workspace(types) : 0;
  const auto prepared = c.card->cuda_prepare ? c.card->cuda_prepare(types) : nullptr;
  const KernelArgs args{.in = in_refs,
                        .out = out_refs,
                        .attrs = node.attrs.get(),
                        .prepared = prepared.get(),
                        .workspace = operands.make_empty(static_cast<size_t>(scratch))};
  const double bytes = c.bytes > 0 ? c.bytes : c.card->cost(types).bytes;
  const BenchResult result{c.name, bytes, median_ms([&] { c.card->cuda(args, nullptr); })};
  operands.clear();
  return result;
}

BenchResult copy_speed(Operands& operands) {
  constexpr size_t kBytes = size_t{2} << 30;
  std::byte *from = operands.make({DType::kF32, {kBytes / 4}}, {}), *to = operands.make_empty(kBytes);
  const double ms =
      median_ms([&] { SHARDIT_CUDA(cudaMemcpyAsync(to, from, kBytes, cudaMemcpyDeviceToDevice, nullptr)); });
  operands.clear();
  return {"copy from device to device", 2.0 * kBytes, ms};
}

}  // namespace

std::vector<BenchResult> bench_device_kernels() {
  std::vector<Case> cases;
  add_token_cases(cases);
  add_image_cases(cases);
  add_moving_cases(cases);
  add_optimizer_cases(cases);
  Operands operands;
  std::vector<BenchResult> results = {copy_speed(operands)};
  for (const Case& c : cases) results.push_back(run_case(c, operands));
  return results;
}

}  // namespace shardit
