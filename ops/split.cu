// Cuts and joins (split.cc): one launch per piece, each bound by its bytes.
#include "ops/split.h"

#include "ops/device_move.h"

namespace shardit {
namespace {

// A window of rows: of `stride` elements, beginning at element `first` of each.
struct Rows {
  const TensorRef* tensor;  // null: zeros
  int64_t first, stride;

  int64_t size() const { return static_cast<int64_t>(size_of(tensor->dtype())); }
  std::byte* begin() const { return tensor ? tensor->as<std::byte>() + first * size() : nullptr; }
};

constexpr int kThreads = 256;

template <typename X, typename Y>
__global__ void __launch_bounds__(kThreads)
    convert_rows_kernel(const X* from, int64_t from_stride, Y* to, int64_t to_stride, int64_t elements, int64_t width) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  const int64_t row = i / width, column = i % width;
  to[row * to_stride + column] = Y(static_cast<float>(from[row * from_stride + column]));
}

// `rows` rows of `width` elements, converted where types differ.
void move_piece(void* stream, const Rows& from, const Rows& to, int64_t rows, int64_t width) {
  if (!from.tensor || from.tensor->dtype() == to.tensor->dtype())
    return device::move_rows(stream, from.begin(), from.stride * to.size(), to.begin(), to.stride * to.size(), rows,
                             width * to.size());
  device::visit(from.tensor->dtype(), to.tensor->dtype(), [&]<typename X, typename Y>(X, Y) {
    launch(convert_rows_kernel<X, Y>, static_cast<unsigned>(device::blocks_for(rows * width, kThreads)), kThreads, 0,
           stream, from.tensor->as<X>() + from.first, from.stride, to.tensor->as<Y>() + to.first, to.stride,
           rows * width, width);
  });
}

const TensorRef* piece_of(const KernelArgs& k, int input) { return input < 0 ? nullptr : &k.in[input]; }

}  // namespace

void split_last_cuda(const KernelArgs& k, void* stream) {
  const auto& sizes = k.attr<PiecesAttrs>().sizes;
  const int64_t width = k.in[0].shape()[-1], rows = width == 0 ? 0 : k.in[0].numel() / width;
  int64_t column = 0;
  for (size_t p = 0; p < sizes.size(); column += sizes[p++])
    move_piece(stream, {&k.in[0], column, width}, {&k.out[p], 0, sizes[p]}, rows, sizes[p]);
}

void concat_last_cuda(const KernelArgs& k, void* stream) {
  const PiecesAttrs& a = k.attr<PiecesAttrs>();
  const int64_t width = a.total(), rows = width == 0 ? 0 : k.out[0].numel() / width;
  int64_t column = 0;
  for (size_t p = 0; p < a.sizes.size(); column += a.sizes[p++])
    move_piece(stream, {piece_of(k, a.input[p]), 0, a.sizes[p]}, {&k.out[0], column, width}, rows, a.sizes[p]);
}

void concat_first_cuda(const KernelArgs& k, void* stream) {
  const PiecesAttrs& a = k.attr<PiecesAttrs>();
  const int64_t unit = k.out[0].numel() / a.total();
  int64_t to = 0;
  for (size_t p = 0; p < a.sizes.size(); to += a.sizes[p++] * unit)
    move_piece(stream, {piece_of(k, a.input[p]), 0, a.sizes[p] * unit}, {&k.out[0], to, a.sizes[p] * unit}, 1,
               a.sizes[p] * unit);
}

}  // namespace shardit
