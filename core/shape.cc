#include "core/shape.h"

#include <algorithm>

#include <glog/logging.h>
#include "core/error.h"

namespace shardit {

Shape::Shape(std::initializer_list<int64_t> extents) : Shape(extents.begin(), extents.end()) {}

int64_t Shape::operator[](int axis) const {
  const int i = axis < 0 ? axis + rank_ : axis;
  CHECK(i >= 0 && i < rank_) << "axis " << axis << " of shape " << str();
  return extents_[i];
}

int64_t Shape::numel() const {
  int64_t product = 1;
  for (int64_t extent : *this) product *= extent;
  return product;
}

void Shape::push_back(int64_t extent) {
  REQUIRE(extent >= 0, "a shape has the negative extent " + std::to_string(extent));
  REQUIRE(rank_ < kMaxRank, "a shape has more than " + std::to_string(kMaxRank) + " axes");
  extents_[rank_++] = extent;
}

Shape Shape::with(int axis, int64_t extent) const {
  Shape result = *this;
  (void)(*this)[axis];  // checks the axis
  result.extents_[axis < 0 ? axis + rank_ : axis] = extent;
  return result;
}

Shape Shape::without(int axis) const {
  (void)(*this)[axis];
  const int removed = axis < 0 ? axis + rank_ : axis;
  Shape result;
  for (int i = 0; i < rank_; ++i)
    if (i != removed) result.push_back(extents_[i]);
  return result;
}

bool Shape::operator==(const Shape& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

std::string Shape::str() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string(extents_[i]);
  return text + "]";
}

}  // namespace shardit
