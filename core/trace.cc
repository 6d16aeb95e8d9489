#include "core/trace.h"

#include <chrono>
#include <utility>

namespace shardit {

int64_t Trace::now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Trace::Span& Trace::add(const std::string& lane, std::string name, std::string detail) {
  const std::lock_guard lock(mutex_);
  return lanes_[lane].emplace_back(Span{std::move(name), std::move(detail)});
}

}  // namespace shardit
