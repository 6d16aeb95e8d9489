// The stream of micro-batches that one rank trains on, read ahead by threads of its own.
//
// Samples are numbered globally from 0 and never again: sample n shows image order.index(n). Micro-batch m holds the
// samples first_sample + m * micro_batch_size onwards; this loader gives micro-batches first_micro_batch,
// first_micro_batch + micro_batch_stride, … So rank r of N passes (r, N), and the N streams together are the stream of
// one rank. The bytes depend on the dataset, the seed and the sample numbers: never on threads, depth or a restart.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/trace.h"
#include "data/dataset.h"
#include "data/sample_reader.h"

namespace shardit {

struct LoaderOptions {
  uint64_t seed = 0;
  int64_t micro_batch_size = 1;    // images
  int64_t first_sample = 0;        // where the global stream starts: step * global_batch_size
  int64_t first_micro_batch = 0;   // this rank
  int64_t micro_batch_stride = 1;  // number of ranks
  int threads = 2;                 // readers; more when the data wait of a step is not near zero
  int depth = 4;                   // micro-batches held ready, each in memory of its own
  bool flip = false;               // mirror half of the images, by a coin keyed with the sample number
  OnCorrupt on_corrupt = OnCorrupt::kFail;
  Trace* trace = nullptr;  // where to tell, while it records, what each thread does
};

// Where a micro-batch of B images is written: the memory of an input node.
struct Slot {
  uint8_t* pixels = nullptr;   // [B, height, width, channels]
  int64_t* labels = nullptr;   // [B]
  int64_t* samples = nullptr;  // [B], the global sample numbers; may be null
};

// All but the constructor is called by one thread. The loader itself allocates nothing after construction.
class Loader {
 public:
  // Throws UserError on an option out of range. REQUIRES: `dataset` outlives the loader.
  Loader(const Dataset& dataset, const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Waits for the next micro-batch, copies it into `slot` and returns its first sample number. If an image of it could
  // not be read, throws that error with the sample number and the image's index, and so does every later call.
  int64_t next(const Slot& slot);

  int64_t position() const { return first_sample_of(taken_); }  // what next() will return
  double waited_ms() const { return waited_ms_; }               // time that next() has stood waiting, since the start

  // What the micro-batches show in place of corrupt images, in their order: those that next() gave since the last call.
  std::vector<CorruptSample> take_corrupt() { return std::exchange(corrupt_, {}); }

 private:
  // One place of the ring. Threads fill it in tiles of a few images.
  struct Buffer {
    std::vector<uint8_t> pixels;
    std::vector<int64_t> labels;
    int64_t tiles_done = 0;      // guarded by mutex_, as are the next three
    std::exception_ptr failure;  // of the lowest sample that failed
    int64_t failed_tile = 0;
    std::vector<CorruptSample> corrupt;
  };

  struct TileResult {
    std::exception_ptr failure;
    std::vector<CorruptSample> corrupt;
  };

  int64_t first_sample_of(int64_t micro_batch) const;  // of this loader's own count of micro-batches
  Buffer& buffer_of(int64_t micro_batch) { return ring_[micro_batch % static_cast<int64_t>(ring_.size())]; }
  void work(int thread);
  TileResult load_tile(int64_t micro_batch, int64_t tile);
  void tell(int thread, int64_t micro_batch, int64_t tile, int64_t begin_ns) const;
  void wait_until_ready(Buffer& buffer);

  const Dataset& dataset_;
  const LoaderOptions options_;
  const SampleReader reader_;
  const int64_t tiles_;  // per micro-batch
  std::vector<Buffer> ring_;
  double waited_ms_ = 0;
  std::vector<CorruptSample> corrupt_;

  std::mutex mutex_;
  std::condition_variable space_, ready_;
  int64_t claimed_ = 0;    // tiles given to threads, counted over all micro-batches; guarded by mutex_
  int64_t taken_ = 0;      // micro-batches given to the caller; written under mutex_ by the caller's thread only
  bool stopping_ = false;  // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace shardit
