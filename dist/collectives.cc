#include "dist/collectives.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "core/pool.h"  // tile_at

namespace shardit {
namespace {

constexpr int kInFlight = Transport::kSlots / 2;  // chunks, each way

// Between two looks at the transport: first only gives way, and later, when a peer is late or the link is slow, sleeps,
// so that computing threads have the core: each time longer, up to about a sixteenth of what it has waited. After a wait that
// slept, the next one sleeps sooner: looks are what a slow link takes from computing.
class Patience {
 public:
  void wait() {
    if (++looks_ < yields_)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(kNapMicroseconds << std::min((looks_ - yields_) / 16, 4)));
  }
  void reset() {
    if (looks_ == 0) return;
    yields_ = looks_ < yields_ ? kYields : kYieldsWhereSlow;
    looks_ = 0;
  }

 private:
  static constexpr int kYields = 200, kYieldsWhereSlow = 20, kNapMicroseconds = 20;
  int looks_ = 0, yields_ = kYields;
};

// One chunk out and one in, of the same size.
struct Exchange {
  static constexpr int kNobody = -1;
  int to = kNobody;
  const char* out = nullptr;
  int from = kNobody;
  char* in = nullptr;
  int64_t bytes = 0;
};

void add(const float* a, const float* b, float* sum, int64_t elements) {
  for (int64_t i = 0; i < elements; ++i) sum[i] = a[i] + b[i];
}

class Collectives final : public Communicator {
 public:
  Collectives(const GroupPlace& place, std::unique_ptr<Transport> transport, std::shared_ptr<CallLog> log,
              CallLog::Group& calls)
      : place_(place),
        transport_(std::move(transport)),
        log_(std::move(log)),
        calls_(calls) {}

  const char* name() const override { return place_.name.c_str(); }
  int rank() const override { return place_.rank; }
  int size() const override { return place_.size; }

  // A ring: in step s, part r - s goes to the right and part r - s - 1 comes from the left; a chunk goes on as soon as
  // it has come.
  void all_gather(const char* label, const void* part, void* all, int64_t part_bytes) override {
    char* const base = static_cast<char*>(all);
    const int64_t chunks = tile_count(part_bytes, kChunkBytes);
    enter(CallOp::kAllGather, label, part_bytes);
    copy(part, base + rank() * part_bytes, part_bytes);
    exchange((size() - 1) * chunks, chunks, [&](int64_t k) {
      const int step = static_cast<int>(k / chunks);
      const Tile chunk = tile_at(part_bytes, kChunkBytes, k % chunks);
      return Exchange{.to = around(rank() + 1),
                      .out = base + around(rank() - step) * part_bytes + chunk.begin,
                      .from = around(rank() - 1),
                      .in = base + around(rank() - step - 1) * part_bytes + chunk.begin,
                      .bytes = chunk.end - chunk.begin};
    });
    calls_.finish();
  }

  // Pairwise: in phase s = 1 … n - 1 everyone sends to r + s and receives from r - s.
  void all_to_all(const char* label, const void* send, void* receive, int64_t part_bytes) override {
    const char* const out = static_cast<const char*>(send);
    char* const in = static_cast<char*>(receive);
    const int64_t chunks = tile_count(part_bytes, kChunkBytes), count = (size() - 1) * chunks;
    enter(CallOp::kAllToAll, label, part_bytes);
    copy(out + rank() * part_bytes, in + rank() * part_bytes, part_bytes);
    exchange(count, count, [&](int64_t k) {
      const int phase = static_cast<int>(k / chunks) + 1;
      const int to = around(rank() + phase), from = around(rank() - phase);
      const Tile chunk = tile_at(part_bytes, kChunkBytes, k % chunks);
      return Exchange{.to = to,
                      .out = out + to * part_bytes + chunk.begin,
                      .from = from,
                      .in = in + from * part_bytes + chunk.begin,
                      .bytes = chunk.end - chunk.begin};
    });
    calls_.finish();
  }

  // Pairwise as well, but chunk by chunk, so that a chunk's sum stays in cache while all ranks' terms arrive. The terms
  // are added in the order r, r - 1, r - 2, …
  void reduce_scatter(const char* label, const float* send, float* receive, int64_t part_elements) override {
    constexpr int64_t kChunk = kSumChunkBytes / static_cast<int64_t>(sizeof(float));
    const int others = size() - 1;
    const int64_t count = tile_count(part_elements, kChunk) * others;
    const float* const own = send + rank() * part_elements;
    if (count > 0 && landing_.empty()) landing_.resize(static_cast<size_t>(kInFlight * kChunk));
    const auto chunk_of = [&](int64_t k) { return tile_at(part_elements, kChunk, k / others); };
    const auto landing_of = [&](int64_t k) { return landing_.data() + k % kInFlight * kChunk; };

    enter(CallOp::kReduceScatter, label, part_elements * static_cast<int64_t>(sizeof(float)));
    if (others == 0) copy(own, receive, part_elements * static_cast<int64_t>(sizeof(float)));
    exchange(
        count, count,
        [&](int64_t k) {
          const int phase = static_cast<int>(k % others) + 1, to = around(rank() + phase);
          const Tile chunk = chunk_of(k);
          return Exchange{.to = to,
                          .out = reinterpret_cast<const char*>(send + to * part_elements + chunk.begin),
                          .from = around(rank() - phase),
                          .in = reinterpret_cast<char*>(landing_of(k)),
                          .bytes = (chunk.end - chunk.begin) * static_cast<int64_t>(sizeof(float))};
        },
        [&](int64_t k) {
          const Tile chunk = chunk_of(k);
          float* const sum = receive + chunk.begin;
          add(k % others == 0 ? own + chunk.begin : sum, landing_of(k), sum, chunk.end - chunk.begin);
        });
    calls_.finish();
  }

  // Along the chain root, root + 1, …: a chunk goes on as soon as it has come.
  void broadcast(const char* label, void* data, int64_t bytes, int root) override {
    char* const base = static_cast<char*>(data);
    const int place = around(rank() - root);
    enter(CallOp::kBroadcast, label, bytes, root);
    exchange(size() > 1 ? tile_count(bytes, kChunkBytes) : 0, 0, [&](int64_t k) {
      const Tile chunk = tile_at(bytes, kChunkBytes, k);
      return Exchange{.to = place + 1 < size() ? around(rank() + 1) : Exchange::kNobody,
                      .out = base + chunk.begin,
                      .from = place > 0 ? around(rank() - 1) : Exchange::kNobody,
                      .in = base + chunk.begin,
                      .bytes = chunk.end - chunk.begin};
    });
    calls_.finish();
  }

  // Dissemination: after round i, which waits for round i - 1, everyone has heard of the 2^(i + 1) - 1 to the left.
  void barrier(const char* label) override {
    int64_t rounds = 0;
    while ((1 << rounds) < size()) ++rounds;
    enter(CallOp::kBarrier, label, 0);
    exchange(rounds, 1, [&](int64_t k) {
      const int distance = 1 << k;
      return Exchange{.to = around(rank() + distance), .from = around(rank() - distance)};
    });
    calls_.finish();
  }

 private:
  int around(int rank) const { return (rank % size() + size()) % size(); }

  void enter(CallOp op, const char* label, int64_t bytes, int root = 0) {
    const Call& call = calls_.begin(op, label, bytes, root);
    if (transport_) transport_->enter(call);
  }

  static void copy(const void* from, void* to, int64_t bytes) {
    if (from != to && bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }

  // Makes exchanges at(0) … at(count - 1), in order, kInFlight at a time each way. What exchange k sends must have come
  // in with exchange k - lag, if there is one. arrived(k) is called when what k receives is there; its place is used
  // again for k + kInFlight.
  template <typename At, typename Arrived>
  void exchange(int64_t count, int64_t lag, const At& at, const Arrived& arrived) {
    try {
      int64_t receives = 0, received = 0, sends = 0, sent = 0;  // started and done
      while (received < count || sent < count) {
        for (; receives < count && receives < received + kInFlight; ++receives) {
          const Exchange e = at(receives);
          if (e.from != Exchange::kNobody) transport_->start_receive(slot_in(receives), e.from, e.in, e.bytes);
        }
        for (; sends < count && sends < sent + kInFlight && sends - lag < received; ++sends) {
          const Exchange e = at(sends);
          if (e.to != Exchange::kNobody) transport_->start_send(slot_out(sends), e.to, e.out, e.bytes);
        }
        bool moved = false;
        if (received < receives && (at(received).from == Exchange::kNobody || transport_->test(slot_in(received)))) {
          arrived(received++);
          moved = true;
        }
        if (sent < sends && (at(sent).to == Exchange::kNobody || transport_->test(slot_out(sent)))) {
          ++sent;
          moved = true;
        }
        moved ? patience_.reset() : patience_.wait();
      }
    } catch (...) {
      transport_->forget();
      throw;
    }
  }
  template <typename At> void exchange(int64_t count, int64_t lag, const At& at) {
    exchange(count, lag, at, [](int64_t) {});
  }
  static int slot_in(int64_t k) { return static_cast<int>(k % kInFlight); }
  static int slot_out(int64_t k) { return kInFlight + static_cast<int>(k % kInFlight); }

  const GroupPlace place_;
  const std::unique_ptr<Transport> transport_;
  const std::shared_ptr<CallLog> log_;  // keeps calls_ alive
  CallLog::Group& calls_;
  Patience patience_;           // knows from one call to the next whether the link is slow
  std::vector<float> landing_;  // where a reduce_scatter's terms arrive
};

}  // namespace

std::unique_ptr<Communicator> make_communicator(const GroupPlace& place, std::unique_ptr<Transport> transport,
                                                std::shared_ptr<CallLog> log, CallLog::Group& calls) {
  return std::make_unique<Collectives>(place, std::move(transport), std::move(log), calls);
}

}  // namespace shardit
