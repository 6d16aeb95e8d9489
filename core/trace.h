// What ran when on one rank, for a few steps: spans on named lanes ("compute", "wire", "loader 0"). For pictures, never
// for decisions.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>

namespace shardit {

class Trace {
 public:
  struct Span {
    std::string name, detail;  // "blocks.3.attn", "attention"
    int64_t begin_ns = 0, end_ns = 0;
  };

  static int64_t now_ns();

  void start() { recording_ = true; }
  void stop() { recording_ = false; }
  bool recording() const { return recording_; }  // from any thread, as is add

  // The span stays in place, so that whoever runs the work may fill in its times later.
  Span& add(const std::string& lane, std::string name, std::string detail = "");

  // REQUIRES: stopped, and all work that was added is over.
  const std::map<std::string, std::deque<Span>>& lanes() const { return lanes_; }

 private:
  std::atomic<bool> recording_ = false;
  std::mutex mutex_;
  std::map<std::string, std::deque<Span>> lanes_;
};

}  // namespace shardit
