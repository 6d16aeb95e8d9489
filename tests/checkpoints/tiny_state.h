// A training state small enough to damage every byte of it, and the calls that the tests share.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "checkpoints/load.h"
#include "checkpoints/save.h"
#include "dist/world.h"
#include "tests/checkpoints/expect_error.h"
#include "tests/checkpoints/faulty_files.h"

namespace shardit {

// Values are a function of `variant`, so two variants have different digests. "params/long" has three chunks, the
// last of them partial; others cover a scalar, an empty tensor and two-byte elements.
struct TinyState {
  std::vector<float> matrix, scalar, moment;
  std::vector<float> long_vector;
  std::vector<BF16> half;

  explicit TinyState(int variant = 0) : matrix(6), scalar(1), moment(6), long_vector(2500), half(5) {
    for (auto* values : {&matrix, &scalar, &moment, &long_vector})
      for (size_t i = 0; i < values->size(); ++i) (*values)[i] = static_cast<float>(1000 * variant) + 0.5f * i + 1;
    for (size_t i = 0; i < half.size(); ++i) half[i] = BF16(static_cast<float>(variant + i));
  }

  std::vector<StateTensor> tensors() {
    return {
        {"params/matrix", DType::kF32, {2, 3}, matrix.data()},      {"params/scalar", DType::kF32, {}, scalar.data()},
        {"params/long", DType::kF32, {50, 50}, long_vector.data()}, {"params/empty", DType::kF32, {0, 4}, nullptr},
        {"adam.m/matrix", DType::kF32, {2, 3}, moment.data()},      {"ema.slow/half", DType::kBF16, {5}, half.data()}};
  }
  bool operator==(const TinyState& other) const {
    const auto bits = [](const std::vector<BF16>& v) {
      std::vector<uint16_t> result;
      for (BF16 x : v) result.push_back(x.bits);
      return result;
    };
    return matrix == other.matrix && scalar == other.scalar && moment == other.moment &&
           long_vector == other.long_vector && bits(half) == bits(other.half);
  }
};

inline RunState run_at(int64_t step) {
  RunState run;
  run.step = step;
  run.images = step * 256;
  run.seed = 42;
  run.next_sample = step * 256;
  run.config_text = "seed: 42\nsteps: 9000\n";
  run.device_kind = "cpu avx512";
  run.library_versions = {{"onednn", "2.6.3"}, {"blas", "1"}};
  run.run_nonce = "abc";
  run.data_fingerprint = "images-and-labels";
  return run;
}

// The whole state, by one rank.
inline SaveReport save_checkpoint(FileSystem& files, const std::string& run_dir, const RunState& run,
                                  std::span<const StateTensor> tensors) {
  const auto alone = make_single_world()->make_group("alone");
  return save_sharded(files, *alone, run_dir, run, whole_parts(tensors));
}

inline SaveReport save_tiny(FileSystem& files, int64_t step, int variant) {
  TinyState state(variant);
  return save_checkpoint(files, "run", run_at(step), state.tensors());
}

// A fresh world with an empty, durable run directory.
inline void make_run(FaultyFiles& files) {
  files.make_dir("run");
  files.sync_dir("");
}

}  // namespace shardit
