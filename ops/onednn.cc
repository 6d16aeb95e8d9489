#include "ops/onednn.h"

#include <cmath>

#include <dnnl.hpp>

#include <glog/logging.h>
#include "core/error.h"
#include "ops/tile_copies.h"

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

bool multiplies_bf16() {
  const LibraryScope library;
  const dnnl::memory::desc square = describe(16, 16, {DType::kBF16, 16, 1});
  return dnnl::matmul::primitive_desc(dnnl::matmul::desc(square, square, square), cpu_engine(), true).get(true);
}

const LibrarySkills& library_skills() {
  static const LibrarySkills skills{
      .bf16 = multiplies_bf16(),
      .across_k = (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core};
  return skills;
}

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

}  // namespace

// One shape of tile: the library's primitive and the descriptions of its operands.
struct TiledProduct::Call {
  TileCopies copies;
  dnnl::memory::desc a, b, bias, c;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
  int64_t library_scratch = 0;  // bytes, whole cache lines

  explicit Call(const Product& tile) : copies(tile, library_skills()) { make_primitive(copies.product()); }

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

  int64_t scratch_bytes() const { return library_scratch + copies.bytes(); }

  void run(const std::byte* pa, const std::byte* pb, const std::byte* pbias, std::byte* pc, std::byte* scratch) const {
    copies.run(pa, pb, pbias, pc, scratch + library_scratch, [&](auto... operands) { multiply(operands..., scratch); });
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
      if (status != dnnl_success)
        fail(copies.product(), "dnnl_primitive_execute", ("status " + std::to_string(status)).c_str());
    } catch (const dnnl::error& e) {
      fail(copies.product(), "dnnl_memory_create", e.what());
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
