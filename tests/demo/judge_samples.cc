// Judges the demo's samples without any trained network, and says so beside the same figures for real test images:
//   agreement: how often 5 nearest neighbours among the raw training pixels vote for the class that was asked for;
//   distance: the mean distance to the nearest training image; far below that of real images would mean copies.
// Exit 1 if the agreement is below 80 % or the distance below half of that of real test images.
#include <cstdio>
#include <iostream>
#include <thread>

#include "core/error.h"
#include "data/idx.h"
#include "data/nearest.h"
#include "data/npz.h"

namespace shardit {
namespace {

int judge(const std::string& path) {
  const auto training = open_idx(kFashionMnistDirectory, "train", 10),
             test = open_idx(kFashionMnistDirectory, "test", 10);
  NpzReader npz(path);
  const std::vector<uint8_t> images = npz.read_all<uint8_t>("arr_0");
  const std::vector<int64_t> labels = npz.read_all<int64_t>("arr_1");
  const auto count = static_cast<int64_t>(labels.size());
  REQUIRE(static_cast<int64_t>(images.size()) == count * training->image_bytes(),
          path + ": arr_0 and arr_1 are not the demo's samples");

  Pool pool(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  const NearestNeighbours neighbours(*training);
  const NearestJudgement ours = neighbours.judge(images.data(), labels.data(), count, pool);
  const NearestJudgement real = neighbours.judge(read_first(*test, count), pool);
  std::printf("%-22s %10s %14s\n%-22s %9.1f%% %14.1f\n%-22s %9.1f%% %14.1f\n", "", "agreement", "mean distance",
              "samples", 100 * ours.agreement, ours.mean_nearest_distance, "real test images", 100 * real.agreement,
              real.mean_nearest_distance);
  const bool good = ours.agreement >= 0.8 && ours.mean_nearest_distance >= 0.5 * real.mean_nearest_distance;
  std::printf("%s: expected at least 80 %% agreement and half of the real distance\n", good ? "ok" : "FAILED");
  return good ? 0 : 1;
}

}  // namespace
}  // namespace shardit

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: judge_samples SAMPLES.npz\n";
    return 2;
  }
  return shardit::judge(argv[1]);
} catch (const shardit::Error& e) {
  std::cerr << e.what() << "\n";
  return e.exit_code;
}
