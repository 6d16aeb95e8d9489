// A device with queues, for tests: nothing runs before the host synchronizes, and then the streams advance in a random
// order that respects the waits, as a GPU might. What a schedule forgot to order shows as other numbers.
#pragma once

#include <sys/mman.h>

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include <glog/logging.h>
#include "core/device.h"
#include "core/random.h"

namespace shardit::test {

// kApart: as a GPU's. The addresses that the device gives out are not mapped, so that the host's first touch ends the
// process; kernels get the mapped ones. What the device is given of the host's must not be its own, and copies to and
// from allocate_host's memory happen when their turn comes, not when they are asked for.
enum class Memory { kShared, kApart };

class QueueDevice : public Device {
 public:
  explicit QueueDevice(uint64_t seed, Memory memory = Memory::kShared) : memory_(memory), seed_(seed) {}

  const char* name() const override { return "queue"; }
  void* allocate(size_t bytes) override {
    void* mapped = cpu_->allocate(bytes);
    if (memory_ == Memory::kShared) return mapped;
    void* given = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(given != MAP_FAILED);
    apart_[static_cast<std::byte*>(given)] = {static_cast<std::byte*>(mapped), bytes};
    return given;
  }
  void release(void* memory, size_t bytes) override {
    if (memory_ == Memory::kShared) return cpu_->release(memory, bytes);
    const auto it = apart_.find(static_cast<std::byte*>(memory));
    CHECK(it != apart_.end() && it->second.bytes == bytes);
    cpu_->release(it->second.mapped, bytes);
    munmap(memory, bytes);
    apart_.erase(it);
  }
  bool host_reaches() const override { return memory_ == Memory::kShared; }
  void* allocate_host(size_t bytes) override {
    void* memory = cpu_->allocate(bytes);
    pinned_[static_cast<std::byte*>(memory)] = bytes;
    return memory;
  }
  void release_host(void* memory, size_t bytes) override {
    CHECK(pinned_.erase(static_cast<std::byte*>(memory)) == 1);
    cpu_->release(memory, bytes);
  }

  void launch(Stream s, const OpCard& card, const KernelArgs& args, Trace::Span*) override {
    if (memory_ == Memory::kShared) return push(s, {.body = [&card, args] { card.cpu(args); }});
    KernelArgs mapped = args;
    mapped.workspace = args.workspace ? on_device(args.workspace) : nullptr;
    push(s, {.body = [&card, mapped, in = on_device(args.in), out = on_device(args.out)]() mutable {
           mapped.in = in;
           mapped.out = out;
           card.cpu(mapped);
         }});
  }
  void copy_in(Stream s, void* device, const void* host, size_t bytes) override {
    const auto* from = static_cast<const std::byte*>(host);
    std::byte* to = on_device(device);
    check_of_host(from);
    if (is_pinned(from)) return push(s, {.body = [=] { std::memcpy(to, from, bytes); }});
    push(s, {.body = [to, bytes, data = std::vector<std::byte>(from, from + bytes)] {
           std::memcpy(to, data.data(), bytes);
         }});
  }
  void copy_out(Stream s, void* host, const void* device, size_t bytes) override {
    const std::byte* from = on_device(const_cast<void*>(device));
    check_of_host(static_cast<std::byte*>(host));
    push(s, {.body = [=] { std::memcpy(host, from, bytes); }});
  }
  void record(Stream s, int event) override {
    latest_[event] = ++tickets_;
    push(s, {.signals = tickets_});
  }
  // As on a GPU, an event that nobody recorded holds nothing back.
  void wait(Stream s, int event) override {
    if (latest_.contains(event)) push(s, {.waits_for = latest_[event]});
  }
  // The others advance as far as they happen to.
  void synchronize(Stream stream) override {
    while (!queues_[static_cast<int>(stream)].empty()) {
      const std::optional<int> s = pick();
      CHECK(s) << "the streams wait for each other";
      const Item item = std::move(queues_[*s].front());
      queues_[*s].pop_front();
      if (item.body) item.body();
      if (item.signals) signalled_.insert(item.signals);
    }
  }

 private:
  struct Item {
    std::function<void()> body;
    int signals = 0, waits_for = 0;  // tickets
  };
  struct Mapping {
    std::byte* mapped;
    size_t bytes;
  };

  void push(Stream s, Item item) { queues_[static_cast<int>(s)].push_back(std::move(item)); }

  std::optional<int> pick() {
    std::vector<int> ready;
    for (int s = 0; s < kStreams; ++s) {
      if (queues_[s].empty()) continue;
      const int ticket = queues_[s].front().waits_for;
      if (ticket == 0 || signalled_.contains(ticket)) ready.push_back(s);
    }
    if (ready.empty()) return std::nullopt;
    return ready[integer_at(Philox(seed_, Purpose::kSynthetic), draws_++, 0, static_cast<int64_t>(ready.size()))];
  }

  // Of an address that was given out, the mapped one.
  std::byte* find(const std::byte* address) const {
    auto it = apart_.upper_bound(const_cast<std::byte*>(address));
    if (it == apart_.begin()) return nullptr;
    --it;
    const ptrdiff_t offset = address - it->first;
    return offset < static_cast<ptrdiff_t>(it->second.bytes) ? it->second.mapped + offset : nullptr;
  }
  std::byte* on_device(void* address) const {
    auto* given = static_cast<std::byte*>(address);
    if (memory_ == Memory::kShared) return given;
    std::byte* mapped = find(given);
    CHECK(mapped) << "an address of the host where one of the device's is due";
    return mapped;
  }
  std::vector<TensorRef> on_device(std::span<const TensorRef> refs) const {
    std::vector<TensorRef> mapped;
    for (const TensorRef& ref : refs) mapped.push_back({on_device(ref.data), ref.type});
    return mapped;
  }
  void check_of_host(const std::byte* address) const {
    CHECK(!find(address)) << "an address of the device where one of the host's is due";
  }
  bool is_pinned(const std::byte* address) const {
    const auto it = pinned_.upper_bound(const_cast<std::byte*>(address));
    return it != pinned_.begin() && address < std::prev(it)->first + std::prev(it)->second;
  }

  const Memory memory_;
  std::unique_ptr<Device> cpu_ = make_cpu_device();
  std::map<std::byte*, Mapping> apart_;  // by address given out
  std::map<std::byte*, size_t> pinned_;
  std::deque<Item> queues_[kStreams];
  std::map<int, int> latest_;  // event -> ticket of its last record
  std::set<int> signalled_;
  int tickets_ = 0;
  uint64_t seed_, draws_ = 0;
};

}  // namespace shardit::test
