#include "ops/cublaslt.h"

#include <cublasLt.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>

#include <glog/logging.h>
#include "core/cuda_error.h"
#include "ops/product_tuning.h"

namespace shardit {
namespace {

void check_library(cublasStatus_t status, const Product& product, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError("cuBLASLt matmul " + text_of(product) + ": " + call + ": " + cublasLtGetStatusName(status) + ", " +
                    cublasLtGetStatusString(status));
}

// The library's state on the current device: one per process and device. Never destroyed: at exit the driver may be
// gone first.
cublasLtHandle_t library(const Product& product) {
  static std::mutex mutex;
  static auto& handles = *new std::map<int, cublasLtHandle_t>;
  int device = 0;
  SHARDIT_CUDA(cudaGetDevice(&device));
  const std::lock_guard lock(mutex);
  const auto [at, is_new] = handles.try_emplace(device, nullptr);
  if (is_new) check_library(cublasLtCreate(&at->second), product, "cublasLtCreate");
  return at->second;
}

cudaDataType_t library_type(DType dtype) {
  CHECK(dtype == DType::kF32 || dtype == DType::kBF16) << "cuBLASLt has no matrix product for " << name_of(dtype);
  return dtype == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF;
}

cublasLtEpilogue_t library_epilogue(const Product& p) {
  switch (p.epilogue) {
    case Epilogue::kNone:
      return p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::kGelu:
      return p.bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    case Epilogue::kGeluGrad:
      return CUBLASLT_EPILOGUE_DGELU;
  }
  LOG(FATAL) << "no such epilogue";
}

template <typename T>
cublasStatus_t read(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute, T& value) {
  size_t written = 0;
  return cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof value, &written);
}

}  // namespace

struct DeviceProduct::Call {
  Product product;
  ColumnMajorProduct blas;
  cublasLtHandle_t handle;
  mutable cublasLtMatrixLayoutOpaque_t left, right, d;  // the library only reads them, but does not say so
  cublasLtMatmulAlgo_t wide, narrow;  // for operands aligned to kWideAlignment; to their elements, without epilogue

  explicit Call(const Product& p) : product(ProductsToldBy::as_told(p)), blas(column_major(p)), handle(library(p)) {
    init(left, blas.left);
    init(right, blas.right);
    init(d, blas.d);
    wide = choose(kWideAlignment);
    if (product.epilogue == Epilogue::kNone) narrow = choose(0);
  }

  void check(cublasStatus_t status, const char* call) const { check_library(status, product, call); }

  void init(cublasLtMatrixLayoutOpaque_t& layout, const ColumnMajorProduct::Matrix& m) const {
    check(cublasLtMatrixLayoutInit(&layout, library_type(m.dtype), static_cast<uint64_t>(m.rows),
                                   static_cast<uint64_t>(m.columns), m.stride),
          "cublasLtMatrixLayoutInit");
  }

  void init(cublasLtMatmulDescOpaque_t& operation, const void* bias, const void* aside) const {
    const cublasComputeType_t compute = product.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    check(cublasLtMatmulDescInit(&operation, compute, CUDA_R_32F), "cublasLtMatmulDescInit");
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
      check(cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof value),
            "cublasLtMatmulDescSetAttribute");
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, blas.left.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, blas.right.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, library_epilogue(product));
    if (product.bias) {
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, library_type(product.b.dtype));
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
    if (product.epilogue != Epilogue::kNone) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aside);
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, product.c.row_stride);
    }
  }

  // What the library may choose from: `alignment` in bytes, 0 for that of each operand's elements.
  void init(cublasLtMatmulPreferenceOpaque_t& preference, uint32_t alignment, int64_t workspace_bytes) const {
    check(cublasLtMatmulPreferenceInit(&preference), "cublasLtMatmulPreferenceInit");
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      check(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof value),
            "cublasLtMatmulPreferenceSetAttribute");
    };
    const auto aligned = [&](const ColumnMajorProduct::Matrix& m) {
      return alignment ? alignment : static_cast<uint32_t>(size_of(m.dtype));
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(workspace_bytes));
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, aligned(blas.left));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, aligned(blas.right));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, aligned(blas.d));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, aligned(blas.d));
  }

  // Parts of a sum along k are added in fp32 in a step of their own, in a fixed order, or there are none. Schemes that
  // add in the output do so in another precision, or as blocks arrive.
  bool is_repeatable(const cublasLtMatmulAlgo_t& algorithm) const {
    uint32_t scheme = 0;
    check(read(algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, scheme), "cublasLtMatmulAlgoConfigGetAttribute");
    return scheme == CUBLASLT_REDUCTION_SCHEME_NONE || scheme == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  }

  // For operands aligned to `alignment` bytes. An address stands for what the library wants to see, but does not read.
  cublasLtMatmulDescOpaque_t operation_for(uint32_t alignment) const {
    cublasLtMatmulDescOpaque_t operation;
    const auto* address = reinterpret_cast<const void*>(alignment ? alignment : size_of(product.b.dtype));
    init(operation, address, address);
    return operation;
  }

  // The library's repeatable answers, the best first by its own reckoning.
  std::vector<cublasLtMatmulAlgo_t> answers(uint32_t alignment, int most, int64_t workspace_bytes) const {
    std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(most));
    int count = 0;
    cublasLtMatmulDescOpaque_t operation = operation_for(alignment);
    cublasLtMatmulPreferenceOpaque_t preference;
    init(preference, alignment, workspace_bytes);
    check(cublasLtMatmulAlgoGetHeuristic(handle, &operation, &left, &right, &d, &d, &preference, most, results.data(),
                                         &count),
          "cublasLtMatmulAlgoGetHeuristic");
    std::vector<cublasLtMatmulAlgo_t> repeatable;
    for (int i = 0; i < count; ++i)
      if (results[i].state == CUBLAS_STATUS_SUCCESS && is_repeatable(results[i].algo))
        repeatable.push_back(results[i].algo);
    return repeatable;
  }

  // Why an algorithm cannot be used that did not come from the library just now; empty if it can.
  std::string objection(const cublasLtMatmulAlgo_t& algorithm, uint32_t alignment) const {
    cublasLtMatmulDescOpaque_t operation = operation_for(alignment);
    cublasLtMatmulHeuristicResult_t result = {};
    const cublasStatus_t status =
        cublasLtMatmulAlgoCheck(handle, &operation, &left, &right, &d, &d, &algorithm, &result);
    if (status != CUBLAS_STATUS_SUCCESS) return std::string("cuBLASLt says ") + cublasLtGetStatusName(status);
    if (result.workspaceSize > static_cast<size_t>(kProductWorkspaceBytes))
      return "it needs more scratch than there is";
    return is_repeatable(algorithm) ? "" : "its bits need not repeat";
  }

  cublasLtMatmulAlgo_t admitted(const LibraryAlgorithm& told, uint32_t alignment) const {
    const auto algorithm = std::bit_cast<cublasLtMatmulAlgo_t>(told);
    const std::string wrong = objection(algorithm, alignment);
    REQUIRE(wrong.empty(),
            "product_table: its algorithm for " + key_of(product, alignment) + " cannot be used: " + wrong +
                "\nwrite the table anew with `shardit bench ops CONFIG --tune`, or take product_table out");
    return algorithm;
  }

  cublasLtMatmulAlgo_t choose(uint32_t alignment) const {
    constexpr int kAnswers = 16;
    const ProductChoices* choices = ProductsToldBy::current();
    if (const LibraryAlgorithm* told = choices ? choices->find(product, alignment) : nullptr)
      return admitted(*told, alignment);
    const std::vector<cublasLtMatmulAlgo_t> repeatable = answers(alignment, kAnswers, kProductWorkspaceBytes);
    if (!repeatable.empty()) return repeatable.front();
    throw DeviceError("cuBLASLt matmul " + text_of(product) + ": no repeatable algorithm for operands aligned to " +
                      (alignment ? std::to_string(alignment) + " bytes" : "their elements"));
  }

  void run(const ProductOperands& o, std::byte* workspace, void* stream) const {
    const bool wide_operands = is_wide(o);
    CHECK(wide_operands || product.epilogue == Epilogue::kNone) << text_of(product) << ": not aligned";
    cublasLtMatmulDescOpaque_t operation;
    init(operation, o.bias, o.aside);
    const float one = 1, zero = 0;
    check(cublasLtMatmul(handle, &operation, &one, o.b, &left, o.a, &right, &zero, o.c, &d, o.c, &d,
                         wide_operands ? &wide : &narrow, workspace, static_cast<size_t>(kProductWorkspaceBytes),
                         static_cast<cudaStream_t>(stream)),
          "cublasLtMatmul");
  }
};

DeviceProduct::DeviceProduct(const Product& product) : call_(std::make_unique<Call>(product)) {}
DeviceProduct::~DeviceProduct() = default;

void DeviceProduct::run(const ProductOperands& operands, std::byte* workspace, void* stream) const {
  constexpr uint32_t kScratchAlignment = 256;
  CHECK_EQ(reinterpret_cast<uintptr_t>(workspace) % kScratchAlignment, 0U) << "the scratch of a product is not aligned";
  CHECK_EQ(operands.bias != nullptr, call_->product.bias) << text_of(call_->product);
  CHECK_EQ(operands.aside != nullptr, call_->product.epilogue != Epilogue::kNone) << text_of(call_->product);
  call_->run(operands, workspace, stream);
}

// With all the scratch that there is, and with none: the library leaves out what it thinks slow.
std::vector<LibraryAlgorithm> DeviceProduct::answers(int most) const {
  std::vector<LibraryAlgorithm> all;
  for (const int64_t workspace_bytes : {kProductWorkspaceBytes, int64_t{0}})
    for (const cublasLtMatmulAlgo_t& answer : call_->answers(kWideAlignment, most, workspace_bytes)) {
      const auto algorithm = std::bit_cast<LibraryAlgorithm>(answer);
      const bool known = std::find(all.begin(), all.end(), algorithm) != all.end();
      if (!known && call_->objection(answer, kWideAlignment).empty()) all.push_back(algorithm);
    }
  return all;
}

void DeviceProduct::use(const LibraryAlgorithm& algorithm) { call_->wide = call_->admitted(algorithm, kWideAlignment); }

std::string describe(const LibraryAlgorithm& algorithm) {
  const auto lt = std::bit_cast<cublasLtMatmulAlgo_t>(algorithm);
  std::string text;
  const auto add = [&](const char* name, cublasLtMatmulAlgoConfigAttributes_t attribute, auto value) {
    if (read(lt, attribute, value) != CUBLAS_STATUS_SUCCESS) return;  // not every version has all of them
    text += (text.empty() ? "" : ", ") + std::string(name) + " " + std::to_string(value);
  };
  add("id", CUBLASLT_ALGO_CONFIG_ID, int32_t{});
  add("tile", CUBLASLT_ALGO_CONFIG_TILE_ID, uint32_t{});
  add("stages", CUBLASLT_ALGO_CONFIG_STAGES_ID, uint32_t{});
  add("split k", CUBLASLT_ALGO_CONFIG_SPLITK_NUM, int32_t{});
  add("reduction", CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, uint32_t{});
  add("swizzle", CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, uint32_t{});
  add("custom", CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, uint32_t{});
  add("inner shape", CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, uint16_t{});
  add("cluster", CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, uint16_t{});
  return text;
}

std::string cublaslt_version() {
  const size_t version = cublasLtGetVersion();  // 130100: 13.1.0
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace shardit
