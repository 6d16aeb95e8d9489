#include "ops/product_choices.h"

#include <algorithm>
#include <numeric>

namespace shardit {
namespace {

thread_local const ProductChoices* choices_in_force = nullptr;
thread_local bool tf32_in_force = false;

// Indices by time; of equal times the lower one first.
std::vector<size_t> by_time(std::span<const double> us) {
  std::vector<size_t> order(us.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return us[a] < us[b]; });
  return order;
}

const char* word_of(Epilogue epilogue) {
  return epilogue == Epilogue::kNone ? "" : epilogue == Epilogue::kGelu ? " gelu" : " gelu_grad";
}

}  // namespace

std::string key_of(const Product& p, int64_t alignment) {
  std::string key = std::to_string(p.m) + "x" + std::to_string(p.n) + "x" + std::to_string(p.k);
  for (const MatrixLayout& matrix : {p.a, p.b, p.c})
    key += std::string(" ") + name_of(matrix.dtype) + ":" + std::to_string(matrix.row_stride) + ":" +
           std::to_string(matrix.column_stride);
  return key + (p.tf32 ? " tf32" : "") + (p.bias ? " bias" : "") + word_of(p.epilogue) + " align " +
         std::to_string(alignment);
}

ProductsToldBy::ProductsToldBy(const ProductChoices* choices, bool tf32)
    : choices_before_(choices_in_force),
      tf32_before_(tf32_in_force) {
  choices_in_force = choices;
  tf32_in_force = tf32;
}
ProductsToldBy::~ProductsToldBy() {
  choices_in_force = choices_before_;
  tf32_in_force = tf32_before_;
}
const ProductChoices* ProductsToldBy::current() { return choices_in_force; }
Product ProductsToldBy::as_told(Product product) {
  if (tf32_in_force) product.tf32 = product.a.dtype == DType::kF32;
  return product;
}

std::vector<size_t> shortest(std::span<const double> us, size_t count) {
  std::vector<size_t> chosen = by_time(us);
  chosen.resize(std::min(count, chosen.size()));
  if (!us.empty() && std::find(chosen.begin(), chosen.end(), size_t{0}) == chosen.end()) chosen.push_back(0);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::optional<size_t> pick(std::span<const double> us, const std::function<bool(size_t)>& repeats) {
  constexpr double kWorthIt = 0.99;
  std::vector<double> handicapped(us.begin(), us.end());
  if (!us.empty()) handicapped[0] *= kWorthIt;
  for (size_t i : by_time(handicapped))
    if (repeats(i)) return i;
  return std::nullopt;
}

}  // namespace shardit
