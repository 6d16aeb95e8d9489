#include "tests/gpu/bench.h"

#include "core/layout.h"
#include "tests/gpu/bench_case.h"

namespace shardit {
namespace {

// DiffiT-XL/2: 1152 channels; 262144 rows are 1024 images of 256 tokens or 256 images of 1024 tokens.
constexpr int64_t kChannels = 1152, kRows = 262144, kTokens = 256;
constexpr int64_t kParameters = 97656 * kChunk;  // 100 M
constexpr int64_t kImages = 8192;                // latents of 64 x 64 x 4

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
  const Builder add_norm = [](const auto& v) { return add_layer_norm(v[0], v[1], 1e-6); };
  const Builder grad_add_cast = [](const auto& v) {
    return layer_norm_grad_add_cast(v[0], v[1], v[2], v[3], v[4], DType::kBF16);
  };
  const std::vector<Type> gradients = {x, x, row, row, x};
  cases.push_back({"add_layer_norm fp32 + bf16", &add_layer_norm_card, kMixed, {x, x}, add_norm});
  cases.push_back({"add_layer_norm bf16", &add_layer_norm_card, kBf16, {x, x}, add_norm});
  cases.push_back({"layer_norm_grad_add bf16", &layer_norm_grad_add_card, kBf16, gradients,
                   one([](const auto& v) { return layer_norm_grad_add(v[0], v[1], v[2], v[3], v[4]); })});
  cases.push_back({"layer_norm_grad_add_cast fp32", &layer_norm_grad_add_cast_card, kMixed, gradients, grad_add_cast});
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
  const Type schedule = f32({1000, kScheduleColumns});
  cases.push_back({"variational_bound fp32",
                   &variational_bound_card,
                   kFp32,
                   {image, image, image, image, ids, schedule},
                   one([](const auto& v) { return variational_bound(v[0], v[1], v[2], v[3], v[4], v[5]); }),
                   [](int64_t i) { return 1 + i % 999; }});
  cases.push_back({"variational_bound_grad fp32",
                   &variational_bound_grad_card,
                   kFp32,
                   {f32({kImages}), image, image, image, image, ids, schedule},
                   one([](const auto& v) { return variational_bound_grad(v[0], v[1], v[2], v[3], v[4], v[5], v[6]); }),
                   [](int64_t i) { return 1 + i % 999; }});
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

BenchResult run_case(const Case& c, Operands& operands) {
  const TimedNode node(c, operands);
  const double bytes = c.bytes > 0 ? c.bytes : node.cost().bytes;
  const BenchResult result{c.name, bytes, median_ms([&] { node.launch(); })};
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
  Operands operands(Signs::kPositive);
  std::vector<BenchResult> results = {copy_speed(operands)};
  for (const Case& c : cases) results.push_back(run_case(c, operands));
  return results;
}

}  // namespace shardit
