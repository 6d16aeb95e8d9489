#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <string>

#include "core/error.h"
#include "core/pool.h"

namespace shardit {
namespace {

constexpr int64_t kTileImages =
    8;  // enough that a tile of small images outweighs the lock, few enough to share a batch

const LoaderOptions& checked(const LoaderOptions& o) {
  const auto at_least = [](int64_t given, int64_t least, const char* what) {
    REQUIRE(given >= least, std::string("the loader's ") + what + " is " + std::to_string(given) +
                                ": expected at least " + std::to_string(least));
  };
  at_least(o.micro_batch_size, 1, "micro-batch size");
  at_least(o.first_sample, 0, "first sample");
  at_least(o.first_micro_batch, 0, "first micro-batch");
  at_least(o.micro_batch_stride, 1, "micro-batch stride");
  at_least(o.threads, 1, "number of threads");
  at_least(o.depth, 1, "depth");
  return o;
}

bool by_sample(const CorruptSample& a, const CorruptSample& b) { return a.sample < b.sample; }

}  // namespace

Loader::Loader(const Dataset& dataset, const LoaderOptions& options)
    : dataset_(dataset),
      options_(checked(options)),
      reader_(dataset, options.seed, options.flip, options.on_corrupt),
      tiles_(tile_count(options.micro_batch_size, kTileImages)),
      ring_(options.depth) {
  for (Buffer& buffer : ring_) {
    buffer.pixels.resize(options.micro_batch_size * dataset.image_bytes());
    buffer.labels.resize(options.micro_batch_size);
  }
  for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this, i] { work(i); });
}

Loader::~Loader() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  space_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

int64_t Loader::first_sample_of(int64_t micro_batch) const {
  const int64_t global = options_.first_micro_batch + micro_batch * options_.micro_batch_stride;
  return options_.first_sample + global * options_.micro_batch_size;
}

int64_t Loader::next(const Slot& slot) {
  Buffer& buffer = buffer_of(taken_);
  wait_until_ready(buffer);
  const int64_t first = position();
  std::memcpy(slot.pixels, buffer.pixels.data(), buffer.pixels.size());
  std::copy(buffer.labels.begin(), buffer.labels.end(), slot.labels);
  if (slot.samples)
    for (int64_t i = 0; i < options_.micro_batch_size; ++i) slot.samples[i] = first + i;
  std::stable_sort(buffer.corrupt.begin(), buffer.corrupt.end(), by_sample);
  std::move(buffer.corrupt.begin(), buffer.corrupt.end(), std::back_inserter(corrupt_));
  {
    std::lock_guard lock(mutex_);
    buffer.corrupt.clear();
    buffer.tiles_done = 0;
    ++taken_;
  }
  space_.notify_all();
  return first;
}

// All tiles are awaited even if one has failed: the error told is that of the lowest sample, whoever was faster.
void Loader::wait_until_ready(Buffer& buffer) {
  std::unique_lock lock(mutex_);
  const auto full = [&] { return buffer.tiles_done == tiles_; };
  if (!full()) {
    const auto start = std::chrono::steady_clock::now();
    ready_.wait(lock, full);
    waited_ms_ += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
  if (buffer.failure) std::rethrow_exception(buffer.failure);
}

void Loader::work(int thread) {
  std::unique_lock lock(mutex_);
  for (;;) {
    space_.wait(lock, [&] { return stopping_ || claimed_ < (taken_ + options_.depth) * tiles_; });
    if (stopping_) return;
    const int64_t ticket = claimed_++, micro_batch = ticket / tiles_, tile = ticket % tiles_;
    lock.unlock();
    const int64_t begin_ns = Trace::now_ns();
    TileResult done = load_tile(micro_batch, tile);
    if (options_.trace && options_.trace->recording()) tell(thread, micro_batch, tile, begin_ns);
    lock.lock();
    Buffer& buffer = buffer_of(micro_batch);
    if (done.failure && (!buffer.failure || tile < buffer.failed_tile)) {
      buffer.failure = done.failure;
      buffer.failed_tile = tile;
    }
    std::move(done.corrupt.begin(), done.corrupt.end(), std::back_inserter(buffer.corrupt));
    if (++buffer.tiles_done == tiles_) ready_.notify_one();
  }
}

Loader::TileResult Loader::load_tile(int64_t micro_batch, int64_t tile) {
  Buffer& buffer = buffer_of(micro_batch);
  const int64_t first = first_sample_of(micro_batch);
  const auto [begin, end] = tile_at(options_.micro_batch_size, kTileImages, tile);
  TileResult result;
  try {
    for (int64_t i = begin; i < end; ++i)
      reader_.read(first + i, buffer.pixels.data() + i * dataset_.image_bytes(), &buffer.labels[i], result.corrupt);
  } catch (...) {
    result.failure = std::current_exception();
  }
  return result;
}

void Loader::tell(int thread, int64_t micro_batch, int64_t tile, int64_t begin_ns) const {
  const Tile images = tile_at(options_.micro_batch_size, kTileImages, tile);
  const int64_t first = first_sample_of(micro_batch);
  Trace::Span& span = options_.trace->add(
      "loader " + std::to_string(thread), "read",
      "samples " + std::to_string(first + images.begin) + " to " + std::to_string(first + images.end - 1));
  span.begin_ns = begin_ns;
  span.end_ns = Trace::now_ns();
}

}  // namespace shardit
