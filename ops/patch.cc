// Images (B, S, S, c) <-> tokens (B, N, p*p*c), N = (S/p)^2 in row-major order. Each is the other's inverse and, as a
// permutation, the other's gradient.
#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {
namespace {

struct PatchAttrs : Attrs {
  int64_t patch = 1, channels = 1;
  PatchOrder order = PatchOrder::kChannelFirst;
  std::string text() const override {
    return "p=" + std::to_string(patch) + " c=" + std::to_string(channels) + (order == PatchOrder::kChannelFirst ? " (c,row,column)" : " (row,column,c)");
  }
  // Where a pixel's channel stands among its token's features.
  int64_t feature(int64_t row, int64_t column, int64_t channel) const {
    return order == PatchOrder::kChannelFirst ? (channel * patch + row) * patch + column : (row * patch + column) * channels + channel;
  }
};

int64_t side_of(int64_t tokens) {
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(tokens))));
  return side * side == tokens ? side : -1;
}

// Calls move(image offset, token offset) for every element of one image.
template <typename Move> void for_each_element(const PatchAttrs& a, int64_t S, Move&& move) {
  const int64_t w = S / a.patch, features = a.patch * a.patch * a.channels;
  for (int64_t y = 0; y < S; ++y)
    for (int64_t x = 0; x < S; ++x) {
      const int64_t token = (y / a.patch) * w + x / a.patch;
      for (int64_t c = 0; c < a.channels; ++c) move((y * S + x) * a.channels + c, token * features + a.feature(y % a.patch, x % a.patch, c));
    }
}

void permute(const KernelArgs& k, bool to_tokens) {
  const auto& a = k.attr<PatchAttrs>();
  const Shape& image = to_tokens ? k.in[0].shape() : k.out[0].shape();
  const int64_t B = image[0], S = image[1], n = S * S * a.channels;
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    k.pool->run(B, [&](int64_t b, int) {
      const X* x = k.in[0].as<X>() + b * n;
      Y* y = k.out[0].as<Y>() + b * n;
      if (to_tokens) for_each_element(a, S, [&](int64_t pixel, int64_t feature) { y[feature] = Y(x[pixel]); });
      else for_each_element(a, S, [&](int64_t pixel, int64_t feature) { y[pixel] = Y(x[feature]); });
    });
  });
}

std::vector<Type> patchify_shape(const NodeTypes& n) {
  const auto& a = n.attr<PatchAttrs>();
  const Shape& s = n.in[0].shape;
  REQUIRE(s.rank() == 4 && s[1] == s[2] && s[1] % a.patch == 0, "takes square images (B, S, S, c) with S a multiple of the patch " + std::to_string(a.patch) + ", got " + s.str());
  const int64_t w = s[1] / a.patch;
  return {n.real_of({s[0], w * w, a.patch * a.patch * s[3]})};
}

std::vector<Type> unpatchify_shape(const NodeTypes& n) {
  const auto& a = n.attr<PatchAttrs>();
  const Shape& s = n.in[0].shape;
  REQUIRE(s.rank() == 3 && side_of(s[1]) > 0 && s[2] == a.patch * a.patch * a.channels,
          "takes tokens (B, w*w, " + std::to_string(a.patch * a.patch * a.channels) + "), got " + s.str());
  const int64_t S = side_of(s[1]) * a.patch;
  return {n.real_of({s[0], S, S, a.channels})};
}

Samples patchify_samples() {
  Samples samples;
  for (PatchOrder order : {PatchOrder::kChannelFirst, PatchOrder::kChannelLast})
    samples.push_back({.in = {{DType::kF32, {2, 6, 6, 5}}}, .build = [order](const std::vector<Value>& v) { return std::vector{patchify(v[0], 3, order)}; }});
  return samples;
}

Samples unpatchify_samples() {
  Samples samples;
  for (PatchOrder order : {PatchOrder::kChannelFirst, PatchOrder::kChannelLast})
    samples.push_back({.in = {{DType::kF32, {2, 9, 20}}}, .build = [order](const std::vector<Value>& v) { return std::vector{unpatchify(v[0], 2, 5, order)}; }});
  return samples;
}

}  // namespace

const OpCard patchify_card = {
    .name = "patchify",
    .shape = patchify_shape,
    .grad = [](const GradArgs& g) {
      const auto& a = g.attr<PatchAttrs>();
      return std::vector{unpatchify(g.dout[0], a.patch, a.channels, a.order)};
    },
    .cost = pointwise_cost<0>,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kCompute},
    .cpu = [](const KernelArgs& k) { permute(k, true); },
    .samples = patchify_samples,
};

const OpCard unpatchify_card = {
    .name = "unpatchify",
    .shape = unpatchify_shape,
    .grad = [](const GradArgs& g) {
      const auto& a = g.attr<PatchAttrs>();
      return std::vector{patchify(g.dout[0], a.patch, a.order)};
    },
    .cost = pointwise_cost<0>,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kExact},  // a network's answer: diffusion arithmetic is fp32
    .cpu = [](const KernelArgs& k) { permute(k, false); },
    .samples = unpatchify_samples,
};

Value patchify(Value image, int64_t patch, PatchOrder order) {
  auto attrs = std::make_shared<PatchAttrs>();
  attrs->patch = patch;
  attrs->channels = image.shape()[-1];
  attrs->order = order;
  return image.graph->add1(patchify_card, {image}, attrs);
}

Value unpatchify(Value tokens, int64_t patch, int64_t channels, PatchOrder order) {
  auto attrs = std::make_shared<PatchAttrs>();
  attrs->patch = patch;
  attrs->channels = channels;
  attrs->order = order;
  return tokens.graph->add1(unpatchify_card, {tokens}, attrs);
}

}  // namespace shardit
