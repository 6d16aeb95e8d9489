// Images (B, S, S, c) to tokens (B, (S/p)^2, p*p*c) and back: a permutation of elements, each the other's gradient.
// A token holds the p x p pixels of one patch, tokens and pixels in row-major order; its features are (c, row, column)
// as a convolution's weight has them, or (row, column, c) as the final layer gives them.
#include "ops/patchify.h"

#include "core/error.h"
#include "ops/kernel.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(patchify_cuda);
DEVICE_KERNEL(unpatchify_cuda);

namespace {

int64_t side_of_tokens(int64_t tokens) { return std::llround(std::sqrt(static_cast<double>(tokens))); }

// Calls f(element of the image, element of the tokens) for every element of a patch row-group: one tile is one image
// and one row of patches.
template <typename F> void for_elements(const PatchAttrs& a, const Shape& image, int64_t tile, F&& f) {
  const int64_t side = image[1], across = side / a.patch, p = a.patch, c = a.channels;
  const int64_t b = tile / across, patch_row = tile % across;
  for (int64_t patch_column = 0; patch_column < across; ++patch_column) {
    const int64_t token = ((b * across + patch_row) * across + patch_column) * p * p * c;
    for (int64_t row = 0; row < p; ++row)
      for (int64_t column = 0; column < p; ++column) {
        const int64_t pixel = ((b * side + patch_row * p + row) * side + patch_column * p + column) * c;
        for (int64_t ch = 0; ch < c; ++ch) {
          const bool first = a.order == PatchOrder::kChannelFirst;
          f(pixel + ch, token + (first ? (ch * p + row) * p + column : (row * p + column) * c + ch));
        }
      }
  }
}

// The image is input or output 0, the tokens the other.
void permute(const KernelArgs& k, const Shape& image, bool to_tokens) {
  const auto& a = k.attr<PatchAttrs>();
  visit_real(k.in[0].dtype(), k.out[0].dtype(), [&]<typename X, typename Y>(X, Y) {
    const X* x = k.in[0].as<X>();
    Y* y = k.out[0].as<Y>();
    k.pool->run(image[0] * (image[1] / a.patch), [&](int64_t tile, int) {
      if (to_tokens)
        for_elements(a, image, tile, [&](int64_t i, int64_t t) { y[t] = Y(static_cast<Accum<X>>(x[i])); });
      else
        for_elements(a, image, tile, [&](int64_t i, int64_t t) { y[i] = Y(static_cast<Accum<X>>(x[t])); });
    });
  });
}

std::vector<Type> patchify_shape(const NodeTypes& n) {
  const Shape& x = n.in_shape(0);
  const auto& a = n.attr<PatchAttrs>();
  REQUIRE(x.rank() == 4 && x[1] == x[2],
          "patchify: the image is " + x.str() + ": expected (images, side, side, channels)");
  REQUIRE(a.patch > 0 && x[1] % a.patch == 0, "patchify: a side of " + std::to_string(x[1]) +
                                                  " does not divide into patches of " + std::to_string(a.patch));
  const int64_t across = x[1] / a.patch;
  return {{n.in[0].dtype, {x[0], across * across, a.patch * a.patch * x[3]}}};
}

std::vector<Type> unpatchify_shape(const NodeTypes& n) {
  const Shape& x = n.in_shape(0);
  const auto& a = n.attr<PatchAttrs>();
  const int64_t features = a.patch * a.patch * a.channels;
  REQUIRE(x.rank() == 3 && x[2] == features,
          "unpatchify: the tokens are " + x.str() + ": expected (images, tokens, " + std::to_string(features) + ")");
  const int64_t across = side_of_tokens(x[1]);
  REQUIRE(across * across == x[1], "unpatchify: " + std::to_string(x[1]) + " tokens are not a square");
  return {{n.in[0].dtype, {x[0], across * a.patch, across * a.patch, a.channels}}};
}

Cost moved(const NodeTypes& n) { return {.bytes = streamed(n)}; }

std::shared_ptr<const Attrs> attributes(int64_t patch, int64_t channels, PatchOrder order) {
  auto attrs = std::make_shared<PatchAttrs>();
  attrs->patch = patch;
  attrs->channels = channels;
  attrs->order = order;
  return attrs;
}

}  // namespace

const OpCard patchify_card = {
    .name = "patchify",
    .shape = patchify_shape,
    .grad =
        [](const GradArgs& g) {
          const auto& a = g.attr<PatchAttrs>();
          return std::vector{unpatchify(g.dout[0], a.patch, a.channels, a.order)};
        },
    .cost = moved,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = [](const KernelArgs& k) { permute(k, k.in[0].shape(), true); },
    .cuda = patchify_cuda,
    .samples =
        [] {
          const auto first = [](const std::vector<Value>& v) {
            return std::vector{patchify(v[0], 2, PatchOrder::kChannelFirst)};
          };
          const auto last = [](const std::vector<Value>& v) {
            return std::vector{patchify(v[0], 3, PatchOrder::kChannelLast)};
          };
          return Samples{{.in = {{DType::kF32, {2, 6, 6, 5}}}, .build = first},
                         {.in = {{DType::kF32, {2, 9, 9, 4}}}, .build = last}};
        },
};

const OpCard unpatchify_card = {
    .name = "unpatchify",
    .shape = unpatchify_shape,
    .grad =
        [](const GradArgs& g) {
          const auto& a = g.attr<PatchAttrs>();
          return std::vector{patchify(g.dout[0], a.patch, a.order)};
        },
    .cost = moved,
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu = [](const KernelArgs& k) { permute(k, k.out[0].shape(), false); },
    .cuda = unpatchify_cuda,
    .samples =
        [] {
          const auto first = [](const std::vector<Value>& v) {
            return std::vector{unpatchify(v[0], 3, 2, PatchOrder::kChannelFirst)};
          };
          const auto last = [](const std::vector<Value>& v) {
            return std::vector{unpatchify(v[0], 2, 5, PatchOrder::kChannelLast)};
          };
          return Samples{{.in = {{DType::kF32, {2, 4, 18}}}, .build = first},
                         {.in = {{DType::kF32, {2, 9, 20}}}, .build = last}};
        },
};

Value patchify(Value image, int64_t patch, PatchOrder order) {
  const int64_t channels = image.shape().rank() == 4 ? image.shape()[3] : 0;  // a wrong rank is the shape rule's error
  return image.graph->add1(patchify_card, {image}, attributes(patch, channels, order));
}

Value unpatchify(Value tokens, int64_t patch, int64_t channels, PatchOrder order) {
  return tokens.graph->add1(unpatchify_card, {tokens}, attributes(patch, channels, order));
}

}  // namespace shardit
