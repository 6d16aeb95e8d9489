// A device with queues, for tests: nothing runs before the host synchronizes, and then the streams advance in a random
// order that respects the waits, as a GPU might. What a schedule forgot to order shows as other numbers.
#pragma once

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

class QueueDevice : public Device {
 public:
  explicit QueueDevice(uint64_t seed) : seed_(seed) {}

  const char* name() const override { return "queue"; }
  void* allocate(size_t bytes) override { return cpu_->allocate(bytes); }
  void release(void* memory, size_t bytes) override { cpu_->release(memory, bytes); }
  void launch(Stream s, const OpCard& card, const KernelArgs& args, Trace::Span*) override {
    push(s, {.body = [&card, args] { card.cpu(args); }});
  }
  void copy_in(Stream s, void* device, const void* host, size_t bytes) override {
    const auto* from = static_cast<const std::byte*>(host);
    push(s, {.body = [device, bytes, data = std::vector<std::byte>(from, from + bytes)] {
           std::memcpy(device, data.data(), bytes);
         }});
  }
  void copy_out(Stream s, void* host, const void* device, size_t bytes) override {
    push(s, {.body = [=] { std::memcpy(host, device, bytes); }});
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

  std::unique_ptr<Device> cpu_ = make_cpu_device();
  std::deque<Item> queues_[kStreams];
  std::map<int, int> latest_;  // event -> ticket of its last record
  std::set<int> signalled_;
  int tickets_ = 0;
  uint64_t seed_, draws_ = 0;
};

}  // namespace shardit::test
