#include "ops/onednn.h"

#include <cmath>
#include <optional>
#include <utility>

#include <dnnl.hpp>

#include <glog/logging.h>
#include "core/error.h"

namespace shardit {
namespace {

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

const dnnl::stream& thread_stream() {
  thread_local const dnnl::stream stream(cpu_engine());
  return stream;
}

dnnl::memory::data_type library_type(DType dtype) {
  CHECK(dtype == DType::kF32 || dtype == DType::kBF16) << "oneDNN has no matrix product for " << name_of(dtype);
  return dtype == DType::kF32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

dnnl::memory::desc describe(int64_t rows, int64_t columns, const MatrixLayout& layout) {
  return {{rows, columns}, library_type(layout.dtype), {layout.row_stride, layout.column_stride}};
}

[[noreturn]] void fail(const Product& product, const char* call, const char* what) {
  throw DeviceError("oneDNN matmul " + text_of(product) + ": " + call + " failed: " + what);
}

int64_t offset_of(const MatrixLayout& layout, int64_t row, int64_t column) {
  return (row * layout.row_stride + column * layout.column_stride) * static_cast<int64_t>(size_of(layout.dtype));
}

// Whether the library multiplies bf16 matrices on this processor: it wants AVX-512 for that.
bool multiplies_bf16() {
  static const bool answer = [] {
    const LibraryScope library;
    const dnnl::memory::desc square = describe(16, 16, {DType::kBF16, 16, 1});
    return dnnl::matmul::primitive_desc(dnnl::matmul::desc(square, square, square), cpu_engine(), true).get(true);
  }();
  return answer;
}

// A compact fp32 copy of a part of a bf16 matrix: lines of contiguous elements, `stride` apart in the original.
struct WideCopy {
  int64_t lines, length, stride;
  MatrixLayout layout;

  WideCopy(int64_t rows, int64_t columns, const MatrixLayout& original)
      : lines(rows),
        length(columns),
        stride(original.row_stride),
        layout{DType::kF32, columns, 1} {
    if (original.column_stride == 1) return;
    CHECK_EQ(original.row_stride, 1);
    std::swap(lines, length);
    stride = original.column_stride;
    layout = {DType::kF32, 1, rows};
  }

  int64_t elements() const { return tile_count(lines * length, 16) * 16; }  // the next copy begins on a cache line

  void read(const BF16* from, float* to) const {
    for (int64_t l = 0; l < lines; ++l)
      for (int64_t i = 0; i < length; ++i) to[l * length + i] = static_cast<float>(from[l * stride + i]);
  }
  void write(const float* from, BF16* to) const {
    for (int64_t l = 0; l < lines; ++l)
      for (int64_t i = 0; i < length; ++i) to[l * stride + i] = BF16(from[l * length + i]);
  }
};

void run_double(const Product& p, const MatrixTile& tile, const double* a, const double* b, const double* bias,
                double* c) {
  for (int64_t i = tile.row; i < tile.row + tile.rows; ++i)
    for (int64_t j = tile.column; j < tile.column + tile.columns; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < p.k; ++l)
        sum =
            std::fma(a[i * p.a.row_stride + l * p.a.column_stride], b[l * p.b.row_stride + j * p.b.column_stride], sum);
      c[i * p.c.row_stride + j * p.c.column_stride] = bias ? sum + bias[j] : sum;
    }
}

// A bf16 product of a tile on a processor for which the library has none: on fp32 copies of its operands. Products of
// two bf16 numbers are exact in fp32 either way, sums are fp32, and c is rounded once.
struct WideTile {
  Product product;  // of the copies
  WideCopy a, b, bias, c;
  bool narrow;  // c is bf16

  explicit WideTile(const Product& p)
      : product(p),
        a(p.m, p.k, p.a),
        b(p.k, p.n, p.b),
        bias(1, p.bias ? p.n : 0, {p.b.dtype, p.n, 1}),
        c(p.m, p.n, p.c),
        narrow(p.c.dtype == DType::kBF16) {
    product.a = a.layout;
    product.b = b.layout;
    if (narrow) product.c = c.layout;
  }

  int64_t bytes() const {
    return (a.elements() + b.elements() + bias.elements() + (narrow ? c.elements() : 0)) * sizeof(float);
  }

  // Calls product(a, b, bias, c) on copies in `scratch`.
  template <typename F>
  void run(const std::byte* pa, const std::byte* pb, const std::byte* pbias, std::byte* pc, std::byte* scratch,
           F&& multiply) const {
    auto* wide_a = reinterpret_cast<float*>(scratch);
    float *wide_b = wide_a + a.elements(), *wide_bias = wide_b + b.elements(), *wide_c = wide_bias + bias.elements();
    a.read(reinterpret_cast<const BF16*>(pa), wide_a);
    b.read(reinterpret_cast<const BF16*>(pb), wide_b);
    if (pbias) bias.read(reinterpret_cast<const BF16*>(pbias), wide_bias);
    const auto bytes = [](float* p) { return reinterpret_cast<std::byte*>(p); };
    multiply(bytes(wide_a), bytes(wide_b), pbias ? bytes(wide_bias) : nullptr, narrow ? bytes(wide_c) : pc);
    if (narrow) c.write(wide_c, reinterpret_cast<BF16*>(pc));
  }
};

}  // namespace

// One shape of tile: the library's primitive and the descriptions of its operands.
struct TiledProduct::Call {
  Product product;
  std::optional<WideTile> wide;
  dnnl::memory::desc a, b, bias, c;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
  int64_t library_scratch = 0;  // bytes, whole cache lines

  explicit Call(const Product& tile) : product(tile) {
    if (tile.a.dtype == DType::kBF16 && !multiplies_bf16()) product = wide.emplace(tile).product;
    make_primitive(product);
  }

  void make_primitive(const Product& p) {
    const LibraryScope library;
    try {
      a = describe(p.m, p.k, p.a);
      b = describe(p.k, p.n, p.b);
      c = describe(p.m, p.n, p.c);
      if (p.bias) bias = describe(1, p.n, {p.b.dtype, p.n, 1});
      dnnl::primitive_attr attributes;
      attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
      const dnnl::matmul::desc operation = p.bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
      description = dnnl::matmul::primitive_desc(operation, attributes, cpu_engine());
      primitive = dnnl::matmul(description);
      library_scratch = tile_count(static_cast<int64_t>(description.scratchpad_desc().get_size()), 64) * 64;
    } catch (const dnnl::error& e) {
      fail(p, "making the primitive", e.what());
    }
  }

  int64_t scratch_bytes() const { return library_scratch + (wide ? wide->bytes() : 0); }

  void run(const std::byte* pa, const std::byte* pb, const std::byte* pbias, std::byte* pc, std::byte* scratch) const {
    if (!wide) return multiply(pa, pb, pbias, pc, scratch);
    wide->run(pa, pb, pbias, pc, scratch + library_scratch, [&](auto... operands) { multiply(operands..., scratch); });
  }

  void multiply(const std::byte* pa, const std::byte* pb, const std::byte* pbias, std::byte* pc,
                std::byte* scratch) const {
    const LibraryScope library;
    try {
      const auto at = [](const dnnl::memory::desc& d, const std::byte* data) {
        return dnnl::memory(d, cpu_engine(), const_cast<std::byte*>(data));
      };
      const dnnl::memory ma = at(a, pa), mb = at(b, pb), mc = at(c, pc),
                         ms = at(description.scratchpad_desc(), scratch);
      const dnnl::memory mbias = pbias ? at(bias, pbias) : dnnl::memory();
      const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, ma.get()},
                                           {DNNL_ARG_WEIGHTS, mb.get()},
                                           {DNNL_ARG_DST, mc.get()},
                                           {DNNL_ARG_SCRATCHPAD, ms.get()},
                                           {DNNL_ARG_BIAS, mbias.get(true)}};
      const dnnl_status_t status =
          dnnl_primitive_execute(primitive.get(), thread_stream().get(), pbias ? 5 : 4, arguments);
      if (status != dnnl_success) fail(product, "dnnl_primitive_execute", ("status " + std::to_string(status)).c_str());
    } catch (const dnnl::error& e) {
      fail(product, "dnnl_memory_create", e.what());
    }
  }
};

TiledProduct::TiledProduct(const Product& product, Grain grain)
    : product_(product),
      grain_(grain),
      row_tiles_(tile_count(product.m, grain.rows)),
      column_tiles_(tile_count(product.n, grain.columns)) {
  CHECK(grain.rows > 0 && grain.columns > 0) << text_of(product);
  CHECK(product.a.dtype == product.b.dtype) << text_of(product);
  if (product.a.dtype == DType::kF64) return;
  for (int64_t i : {int64_t{0}, tiles() - 1, column_tiles_ - 1, (row_tiles_ - 1) * column_tiles_}) {
    const MatrixTile t = tile(i);
    auto& call = calls_[t.rows < grain.rows][t.columns < grain.columns];
    if (call) continue;
    Product part = product;
    part.m = t.rows;
    part.n = t.columns;
    call = std::make_unique<Call>(part);
    constexpr int64_t kPage = 4096;  // keeps the threads' scratch on pages of their own
    scratch_bytes_ = std::max(scratch_bytes_, tile_count(call->scratch_bytes(), kPage) * kPage);
  }
}

TiledProduct::~TiledProduct() = default;

MatrixTile TiledProduct::tile(int64_t i) const {
  const Tile rows = tile_at(product_.m, grain_.rows, i / column_tiles_);
  const Tile columns = tile_at(product_.n, grain_.columns, i % column_tiles_);
  return {rows.begin, columns.begin, rows.end - rows.begin, columns.end - columns.begin};
}

void TiledProduct::run(int64_t i, const void* a, const void* b, const void* bias, void* c, std::byte* scratch) const {
  const Product& p = product_;
  const MatrixTile t = tile(i);
  if (p.a.dtype == DType::kF64)
    return run_double(p, t, static_cast<const double*>(a), static_cast<const double*>(b),
                      static_cast<const double*>(bias), static_cast<double*>(c));
  const auto* tile_bias =
      bias ? static_cast<const std::byte*>(bias) + t.column * static_cast<int64_t>(size_of(p.b.dtype)) : nullptr;
  calls_[t.rows < grain_.rows][t.columns < grain_.columns]->run(
      static_cast<const std::byte*>(a) + offset_of(p.a, t.row, 0),
      static_cast<const std::byte*>(b) + offset_of(p.b, 0, t.column), tile_bias,
      static_cast<std::byte*>(c) + offset_of(p.c, t.row, t.column), scratch);
}

}  // namespace shardit
