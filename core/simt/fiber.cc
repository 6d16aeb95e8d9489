#include "core/simt/fiber.h"

#include <sys/mman.h>

#include <stdexcept>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace shardit::simt {
namespace {

constexpr size_t kPage = 4096;

struct OwnedElsewhere {  // the stack belongs to the Fiber
  boost::context::stack_context allocate() { return {}; }
  void deallocate(boost::context::stack_context&) noexcept {}
};

}  // namespace

Fiber::Fiber() {
  void* memory = mmap(nullptr, kPage + kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0)
    throw std::runtime_error("no memory for a fiber's stack");
  stack_ = static_cast<char*>(memory);
  boost::context::stack_context stack;
  stack.sp = stack_ + kPage + kStackBytes;
  stack.size = kStackBytes;
  fiber_ =
      boost::context::fiber(std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack),
                            OwnedElsewhere{}, [this](boost::context::fiber&& owner) { return loop(std::move(owner)); });
#if defined(__SANITIZE_THREAD__)
  thread_of_fiber_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  fiber_ = {};
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(thread_of_fiber_);
#endif
  munmap(stack_, kPage + kStackBytes);
}

boost::context::fiber Fiber::loop(boost::context::fiber owner) {
  owner_ = std::move(owner);
  after_arriving();
  for (;;) {
    function_();
    pause();
  }
}

void Fiber::resume() {
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, stack_ + kPage, kStackBytes);
#endif
#if defined(__SANITIZE_THREAD__)
  thread_of_owner_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(thread_of_fiber_, 0);
#endif
  fiber_ = std::move(fiber_).resume();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void Fiber::pause() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fake_stack_, owner_stack_, owner_bytes_);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(thread_of_owner_, 0);
#endif
  owner_ = std::move(owner_).resume();
  after_arriving();
}

void Fiber::after_arriving() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, &owner_stack_, &owner_bytes_);
#endif
}

}  // namespace shardit::simt
