#include "ops/onednn.h"

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

}  // namespace

bool library_multiplies_bf16() {
  static const bool does =
      (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
  return does;
}

struct LibraryProduct::Primitive {
  dnnl::memory::desc a, b, bias, c;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul matmul;
};

LibraryProduct::LibraryProduct(const Product& p) : product_(p), primitive_(std::make_unique<Primitive>()) {
  const LibraryScope library;
  try {
    Primitive& made = *primitive_;
    made.a = describe(p.m, p.k, p.a);
    made.b = describe(p.k, p.n, p.b);
    made.c = describe(p.m, p.n, p.c);
    if (p.bias) made.bias = describe(1, p.n, {p.b.dtype, p.n, 1});
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::matmul::desc operation =
        p.bias ? dnnl::matmul::desc(made.a, made.b, made.bias, made.c) : dnnl::matmul::desc(made.a, made.b, made.c);
    made.description = dnnl::matmul::primitive_desc(operation, attributes, cpu_engine());
    made.matmul = dnnl::matmul(made.description);
    scratch_bytes_ = static_cast<int64_t>(made.description.scratchpad_desc().get_size());
  } catch (const dnnl::error& e) {
    fail(p, "making the primitive", e.what());
  }
}

LibraryProduct::~LibraryProduct() = default;

void LibraryProduct::run(const void* a, const void* b, const void* bias, void* c, std::byte* scratch) const {
  const LibraryScope library;
  const Primitive& p = *primitive_;
  try {
    const auto at = [](const dnnl::memory::desc& d, const void* data) {
      return dnnl::memory(d, cpu_engine(), const_cast<void*>(data));
    };
    const dnnl::memory ma = at(p.a, a), mb = at(p.b, b), mc = at(p.c, c),
                       ms = at(p.description.scratchpad_desc(), scratch);
    const dnnl::memory mbias = bias ? at(p.bias, bias) : dnnl::memory();
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, ma.get()},
                                         {DNNL_ARG_WEIGHTS, mb.get()},
                                         {DNNL_ARG_DST, mc.get()},
                                         {DNNL_ARG_SCRATCHPAD, ms.get()},
                                         {DNNL_ARG_BIAS, mbias.get(true)}};
    const dnnl_status_t status = dnnl_primitive_execute(p.matmul.get(), thread_stream().get(), bias ? 5 : 4, arguments);
    if (status != dnnl_success) fail(product_, "dnnl_primitive_execute", ("status " + std::to_string(status)).c_str());
  } catch (const dnnl::error& e) {
    fail(product_, "dnnl_memory_create", e.what());
  }
}

}  // namespace shardit
