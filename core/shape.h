// The extents of a tensor, outermost first, row-major. Rank 0 is a scalar of one element.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

namespace shardit {

class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents);
  template <typename Iterator> Shape(Iterator first, Iterator last) {
    for (; first != last; ++first) push_back(*first);
  }

  int rank() const { return rank_; }
  int64_t operator[](int axis) const;  // a negative axis counts from the end: -1 is the innermost
  int64_t numel() const;
  void push_back(int64_t extent);
  Shape with(int axis, int64_t extent) const;  // the same shape with one extent replaced
  Shape without(int axis) const;               // the same shape with one axis removed

  const int64_t* begin() const { return extents_; }
  const int64_t* end() const { return extents_ + rank_; }
  bool operator==(const Shape& other) const;
  std::string str() const;  // "[64, 49, 128]"

 private:
  int64_t extents_[kMaxRank] = {};
  int rank_ = 0;
};

}  // namespace shardit
