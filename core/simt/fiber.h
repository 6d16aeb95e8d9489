// A fiber: a function on a stack of its own, which pauses and goes on at its owner's word, on one thread. Its stack has
// an unmapped page below, so that running out of it stops the program; switches are told to the sanitizers.
#pragma once

#include <boost/context/fiber.hpp>
#include <functional>

namespace shardit::simt {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;

  // What the next resume() begins. REQUIRES: the last function has returned.
  void start(std::function<void()> function) { function_ = std::move(function); }
  void resume();  // by the owner: runs until the function pauses or returns
  void pause();   // by the function: back to the owner

 private:
  boost::context::fiber loop(boost::context::fiber owner);
  void after_arriving();

  static constexpr size_t kStackBytes = size_t{256} << 10;

  char* stack_ = nullptr;  // the unmapped page, then the stack
  boost::context::fiber fiber_, owner_;
  std::function<void()> function_;

  // What the sanitizers keep of the side that does not run.
  void* fake_stack_ = nullptr;
  const void* owner_stack_ = nullptr;
  size_t owner_bytes_ = 0;
  void* thread_of_fiber_ = nullptr;
  void* thread_of_owner_ = nullptr;
};

}  // namespace shardit::simt
