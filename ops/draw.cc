// Keyed draws: values of core/random.h for a batch of global sample numbers, the same bits as its scalar functions.
// Normals are drawn a few hundred Philox blocks at a time, in loops over blocks that the compiler vectorises.
#include "ops/draw.h"

#include "ops/images.h"
#include "ops/ops.h"

namespace shardit {

DEVICE_KERNEL(sample_ids_cuda);
DEVICE_KERNEL(draw_normal_cuda);
DEVICE_KERNEL(draw_integer_cuda);
DEVICE_KERNEL(drop_labels_cuda);
DEVICE_KERNEL(image_to_real_cuda);

namespace {

void sample_ids_cpu(const KernelArgs& k) {
  const int64_t* counters = k.in[0].as<int64_t>();
  const int64_t count = k.out[0].numel(), first = counters[0] + counters[1] * count;
  for (int64_t i = 0; i < count; ++i) k.out[0].as<int64_t>()[i] = first + i;
}

constexpr int64_t kBlocks = 256;  // of four normals: a tile

struct Bits {
  uint32_t word[4][kBlocks];
};

void draw_bits(const Philox& philox, uint64_t item, uint32_t first, int64_t blocks, uint32_t lane, Bits& bits) {
  for (int64_t b = 0; b < blocks; ++b) {
    const Philox::Block block = philox(item, first + static_cast<uint32_t>(b), lane);
    for (int w = 0; w < 4; ++w) bits.word[w][b] = block.word[w];
  }
}

// Element 4 b + w of the tile comes from word w of block b.
template <typename T> void write_normals(const Bits& bits, int64_t n, T* to) {
  float z[4][kBlocks];
  const int64_t blocks = tile_count(n, 4);
  for (int w = 0; w < 4; ++w)
    for (int64_t b = 0; b < blocks; ++b) z[w][b] = normal_from_bits(bits.word[w][b]);
  const int64_t whole = n / 4;
  for (int64_t b = 0; b < whole; ++b)
    for (int w = 0; w < 4; ++w) to[4 * b + w] = T(z[w][b]);
  for (int64_t i = 4 * whole; i < n; ++i) to[i] = T(z[i % 4][i / 4]);
}

void draw_normal_cpu(const KernelArgs& k) {
  const Philox philox = k.attr<DrawAttrs>().philox();
  const int64_t* ids = k.in[0].as<int64_t>();
  const uint32_t lane = k.in.size() > 1 ? static_cast<uint32_t>(k.in[1].as<int64_t>()[0]) : 0;
  const int64_t n = k.attr<DrawAttrs>().per_image.numel(), tiles = tile_count(n, 4 * kBlocks);
  visit_real(k.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    k.pool->run(k.in[0].numel() * tiles, [&](int64_t i, int) {
      const Tile tile = tile_at(n, 4 * kBlocks, i % tiles);
      const int64_t image = i / tiles, count = tile.end - tile.begin;
      Bits bits;
      draw_bits(philox, static_cast<uint64_t>(ids[image]), static_cast<uint32_t>(tile.begin / 4), tile_count(count, 4),
                lane, bits);
      write_normals(bits, count, k.out[0].as<T>() + image * n + tile.begin);
    });
  });
}

void draw_integer_cpu(const KernelArgs& k) {
  const Philox philox = k.attr<DrawAttrs>().philox();
  for (int64_t i = 0; i < k.out[0].numel(); ++i)
    k.out[0].as<int64_t>()[i] = integer_at(philox, static_cast<uint64_t>(k.in[0].as<int64_t>()[i]), 0,
                                           static_cast<uint32_t>(k.attr<DrawAttrs>().n));
}

void drop_labels_cpu(const KernelArgs& k) {
  const DrawAttrs& a = k.attr<DrawAttrs>();
  const Philox philox = a.philox();
  const int64_t *labels = k.in[0].as<int64_t>(), *ids = k.in[1].as<int64_t>();
  for (int64_t i = 0; i < k.out[0].numel(); ++i) {
    const bool dropped = uniform_at(philox, static_cast<uint64_t>(ids[i]), 0) < a.probability;
    k.out[0].as<int64_t>()[i] = dropped ? a.n : labels[i];
  }
}

void image_to_real_cpu(const KernelArgs& k) {
  visit_real(k.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using A = Accum<T>;
    const int64_t n = k.out[0].numel();
    k.pool->run(tile_count(n, kPointwiseTile), [&](int64_t i, int) {
      const Tile tile = tile_at(n, kPointwiseTile, i);
      for (int64_t e = tile.begin; e < tile.end; ++e)
        k.out[0].as<T>()[e] = T(static_cast<A>(k.in[0].as<uint8_t>()[e]) / A(127.5) - A(1));
    });
  });
}

void require_ids(const Type& ids) {
  REQUIRE(ids.dtype == DType::kI64 && ids.shape.rank() == 1,
          "sample numbers are given as " + ids.str() + ", expected one int64 per image");
}

std::vector<Type> integers_like_first(const NodeTypes& n) {
  for (const Type& type : n.in) require_ids(type);
  return {n.in[0]};
}

std::vector<Type> draw_normal_shape(const NodeTypes& n) {
  require_ids(n.in[0]);
  REQUIRE(n.in.size() == 1 || n.in[1] == (Type{DType::kI64, {1}}),
          "the lane is given as " + n.in[1].str() + ", expected int64 [1]");
  Shape shape = {n.in[0].shape[0]};
  for (int64_t extent : n.attr<DrawAttrs>().per_image) shape.push_back(extent);
  return {n.real_of(shape)};
}

Cost moved(const NodeTypes& n) { return {.bytes = streamed(n)}; }

// A Philox block is 10 rounds of about 8 operations for 4 normals, a normal about 50.
Cost draw_normal_cost(const NodeTypes& n) {
  return {.flops = 70.0 * static_cast<double>(n.out[0].shape.numel()), .bytes = streamed(n)};
}

const Type kSampleIds = {DType::kI64, {5}};
int64_t far_apart(int, int64_t i) { return (i << 33) + 7; }

}  // namespace

const OpCard sample_ids_card = {
    .name = "sample_ids",
    .shape =
        [](const NodeTypes& n) {
          REQUIRE(n.in[0] == (Type{DType::kI64, {2}}),
                  "the counters are given as " + n.in[0].str() + ", expected int64 [2]");
          return std::vector{Type{DType::kI64, {n.attr<DrawAttrs>().n}}};
        },
    .cost = moved,
    .in_roles = {Role::kFixed},
    .out_roles = {Role::kFixed},
    .cpu = sample_ids_cpu,
    .cuda = sample_ids_cuda,
    .samples =
        [] {
          return Samples{{.in = {{DType::kI64, {2}}},
                          .build = [](auto& v) { return std::vector{sample_ids(v[0], 7)}; },
                          .integer = [](int, int64_t i) { return 100 - 97 * i; }}};
        },
};

const OpCard draw_normal_card = {
    .name = "draw_normal",
    .shape = draw_normal_shape,
    .cost = draw_normal_cost,
    .in_roles = {Role::kFixed},
    .out_roles = {Role::kExact},
    .cpu = draw_normal_cpu,
    .cuda = draw_normal_cuda,
    .samples =
        [] {
          const auto build = [](const std::vector<Value>& v) {
            return std::vector{draw_normal(v[0], {3, 350}, 5, Purpose::kNoise, v.size() > 1 ? v[1] : Value{})};
          };
          return Samples{{.in = {kSampleIds}, .build = build, .integer = far_apart},
                         {.in = {kSampleIds, {DType::kI64, {1}}}, .build = build, .integer = far_apart}};
        },
};

const OpCard draw_integer_card = {
    .name = "draw_integer",
    .shape = integers_like_first,
    .cost = moved,
    .in_roles = {Role::kFixed},
    .out_roles = {Role::kFixed},
    .cpu = draw_integer_cpu,
    .cuda = draw_integer_cuda,
    .samples =
        [] {
          return Samples{{.in = {kSampleIds},
                          .build = [](auto& v) { return std::vector{draw_integer(v[0], 1000, 5, Purpose::kTime)}; },
                          .integer = far_apart}};
        },
};

const OpCard drop_labels_card = {
    .name = "drop_labels",
    .shape =
        [](const NodeTypes& n) {
          REQUIRE(n.in[0].shape == n.in[1].shape,
                  n.in[0].shape.str() + " labels are given for " + n.in[1].shape.str() + " sample numbers");
          return integers_like_first(n);
        },
    .cost = moved,
    .in_roles = {Role::kFixed},
    .out_roles = {Role::kFixed},
    .cpu = drop_labels_cpu,
    .cuda = drop_labels_cuda,
    .samples =
        [] {
          return Samples{{.in = {kSampleIds, kSampleIds},
                          .build = [](auto& v) { return std::vector{drop_labels(v[0], v[1], 0.5, 10, 5)}; }}};
        },
};

const OpCard image_to_real_card = {
    .name = "image_to_real",
    .shape =
        [](const NodeTypes& n) {
          REQUIRE(n.in[0].dtype == DType::kU8, "images are given as " + n.in[0].str() + ", expected uint8");
          return std::vector{n.real_of(n.in[0].shape)};
        },
    .cost = pointwise_cost<2>,
    .in_roles = {Role::kFixed},
    .out_roles = {Role::kExact},
    .cpu = image_to_real_cpu,
    .cuda = image_to_real_cuda,
    .samples =
        [] {
          return Samples{{.in = {{DType::kU8, {2, 16, 8, 3}}},
                          .build = [](auto& v) { return std::vector{image_to_real(v[0])}; },
                          .integer = [](int, int64_t i) { return i % 256; }}};
        },
};

Value sample_ids(Value counters, int64_t count) {
  auto attrs = std::make_shared<DrawAttrs>();
  attrs->n = count;
  return counters.graph->add1(sample_ids_card, {counters}, attrs);
}

Value draw_normal(Value ids, Shape per_image, uint64_t seed, Purpose purpose, Value lane) {
  auto attrs = std::make_shared<DrawAttrs>();
  attrs->per_image = per_image;
  attrs->seed = seed;
  attrs->purpose = purpose;
  return ids.graph->add1(draw_normal_card, lane ? std::vector{ids, lane} : std::vector{ids}, attrs);
}

Value draw_integer(Value ids, int64_t n, uint64_t seed, Purpose purpose) {
  REQUIRE(n >= 1 && n <= int64_t{1} << 31, "draw_integer: " + std::to_string(n) + " is no size of a range of integers");
  auto attrs = std::make_shared<DrawAttrs>();
  attrs->n = n;
  attrs->seed = seed;
  attrs->purpose = purpose;
  return ids.graph->add1(draw_integer_card, {ids}, attrs);
}

Value drop_labels(Value labels, Value ids, double probability, int64_t null_label, uint64_t seed) {
  REQUIRE(probability >= 0 && probability <= 1,
          "drop_labels: the probability " + std::to_string(probability) + " is not in [0, 1]");
  auto attrs = std::make_shared<DrawAttrs>();
  attrs->n = null_label;
  attrs->probability = probability;
  attrs->seed = seed;
  attrs->purpose = Purpose::kLabelDrop;
  return labels.graph->add1(drop_labels_card, {labels, ids}, attrs);
}

Value image_to_real(Value image) { return image.graph->add1(image_to_real_card, {image}); }

}  // namespace shardit
