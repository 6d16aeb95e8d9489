#include "data/loader.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

#include "core/error.h"
#include "data/synthetic.h"
#include "tests/data/files.h"

namespace shardit {
namespace {

using testing_files::message_of;
using testing_files::says;

struct Batch {
  std::vector<uint8_t> pixels;
  std::vector<int64_t> labels, samples;
  bool operator==(const Batch&) const = default;
};

Batch take(Loader& loader, const Dataset& dataset, int64_t size) {
  Batch batch{std::vector<uint8_t>(size * dataset.image_bytes()), std::vector<int64_t>(size),
              std::vector<int64_t>(size)};
  const int64_t expected = loader.position();
  EXPECT_EQ(loader.next({batch.pixels.data(), batch.labels.data(), batch.samples.data()}), expected);
  EXPECT_EQ(batch.samples.front(), expected);
  return batch;
}

const SyntheticDataset& images() {
  static const SyntheticDataset dataset({.size = 50, .height = 6, .width = 5, .channels = 3});
  return dataset;
}

std::vector<Batch> stream(const LoaderOptions& options, int batches) {
  Loader loader(images(), options);
  std::vector<Batch> result;
  for (int i = 0; i < batches; ++i) result.push_back(take(loader, images(), options.micro_batch_size));
  return result;
}

// Reads as another dataset does, but after a pause that differs from call to call, or not at all.
class SlowDataset : public Dataset {
 public:
  SlowDataset(int64_t bad, bool as_user_error = false)
      : Dataset({.name = "slow",
                 .size = 50,
                 .classes = 10,
                 .height = 6,
                 .width = 5,
                 .channels = 3,
                 .fingerprint = {},
                 .class_names = {}}),
        bad_(bad),
        as_user_error_(as_user_error) {}
  void read(int64_t index, uint8_t* pixels, int64_t* label) const override {
    std::this_thread::sleep_for(std::chrono::microseconds(37 * (++calls_ % 7)));
    if (index == bad_ && as_user_error_) throw UserError("the label is 12");
    if (index == bad_) throw IoError("the file is cut short");
    images().read(index, pixels, label);
  }

 private:
  const int64_t bad_;
  const bool as_user_error_;
  mutable std::atomic<int> calls_{0};
};

TEST(Loader, GivesTheImagesOfTheOrderInTheirPlaces) {
  const SampleOrder order(9, 50);
  std::vector<uint8_t> pixels(images().image_bytes());
  for (const Batch& batch : stream({.seed = 9, .micro_batch_size = 7}, 20))
    for (int64_t i = 0; i < 7; ++i) {
      int64_t label;
      images().read(order.index(batch.samples[i]), pixels.data(), &label);
      EXPECT_EQ(batch.labels[i], label);
      EXPECT_TRUE(std::equal(pixels.begin(), pixels.end(), batch.pixels.begin() + i * images().image_bytes()));
    }
}

TEST(Loader, ThreadsAndDepthChangeNothing) {
  const std::vector<Batch> expected = stream({.micro_batch_size = 20, .threads = 1, .depth = 1, .flip = true}, 12);
  const SlowDataset slow(-1);
  for (int threads : {1, 2, 5})
    for (int depth : {1, 3}) {
      Loader loader(slow, {.micro_batch_size = 20, .threads = threads, .depth = depth, .flip = true});
      for (const Batch& batch : expected)
        EXPECT_EQ(take(loader, slow, 20), batch) << threads << " threads, depth " << depth;
    }
}

TEST(Loader, ARestartAtAnyPositionGivesTheSameStream) {
  const std::vector<Batch> expected = stream({.micro_batch_size = 8, .flip = true}, 15);
  for (int taken : {0, 1, 6, 14}) {
    Loader before(images(), {.micro_batch_size = 8, .flip = true});
    for (int i = 0; i < taken; ++i) take(before, images(), 8);
    Loader after(images(), {.micro_batch_size = 8, .first_sample = before.position(), .flip = true});
    for (int i = taken; i < 15; ++i) EXPECT_EQ(take(after, images(), 8), expected[i]) << "after " << taken;
  }
}

TEST(Loader, StridedRanksTogetherAreTheSingleStream) {
  const std::vector<Batch> expected = stream({.micro_batch_size = 3, .first_sample = 300, .flip = true}, 24);
  for (int ranks : {1, 2, 3, 4})
    for (int rank = 0; rank < ranks; ++rank) {
      const auto own = stream({.micro_batch_size = 3,
                               .first_sample = 300,
                               .first_micro_batch = rank,
                               .micro_batch_stride = ranks,
                               .flip = true},
                              24 / ranks);
      for (int i = 0; i < 24 / ranks; ++i) EXPECT_EQ(own[i], expected[rank + i * ranks]) << rank << " of " << ranks;
    }
}

TEST(Loader, FlipMirrorsExactlyTheSamplesOfTheCoin) {
  const SampleOrder order(0, 50);
  const Batch plain = stream({.micro_batch_size = 50}, 1)[0],
              flipped = stream({.micro_batch_size = 50, .flip = true}, 1)[0];
  for (int64_t n = 0; n < 50; ++n)
    for (int64_t y = 0; y < 6; ++y)
      for (int64_t x = 0; x < 5; ++x)
        for (int64_t c = 0; c < 3; ++c) {
          const auto at = [&](int64_t column) { return ((n * 6 + y) * 5 + column) * 3 + c; };
          ASSERT_EQ(flipped.pixels[at(x)], plain.pixels[at(order.flipped(n) ? 4 - x : x)]);
        }
}

// The lowest failing sample is told, whichever thread fails first, and only when its turn has come.
TEST(Loader, AnUnreadableImageIsToldWithItsSampleAndIndex) {
  const int64_t bad = SampleOrder(0, 50).index(29);
  for (int threads : {1, 2, 5}) {
    const SlowDataset broken(bad);
    Loader loader(broken, {.micro_batch_size = 20, .threads = threads});
    take(loader, broken, 20);
    for (int call = 0; call < 2; ++call)
      EXPECT_TRUE(says(message_of<IoError>([&] { take(loader, broken, 20); }),
                       {"sample 29 ", "image " + std::to_string(bad) + " of slow", "cut short"}));
    EXPECT_EQ(loader.position(), 20);
  }
  const SlowDataset user(bad, true);
  Loader loader(user, {.micro_batch_size = 50});
  EXPECT_TRUE(says(message_of<UserError>([&] { take(loader, user, 50); }), {"sample 29 "}));
}

// Every image is broken, and the first one takes longest to find out.
class BrokenDataset : public Dataset {
 public:
  explicit BrokenDataset(int64_t slow)
      : Dataset({.name = "broken",
                 .size = 50,
                 .classes = 10,
                 .height = 1,
                 .width = 1,
                 .channels = 1,
                 .fingerprint = {},
                 .class_names = {}}),
        slow_(slow) {}
  void read(int64_t index, uint8_t*, int64_t*) const override {
    if (index == slow_) std::this_thread::sleep_for(std::chrono::milliseconds(30));
    throw IoError("not an image");
  }

 private:
  const int64_t slow_;
};

TEST(Loader, TheErrorOfTheLowestSampleWins) {
  const BrokenDataset broken(SampleOrder(0, 50).index(0));
  Loader loader(broken, {.micro_batch_size = 50, .threads = 5});
  EXPECT_TRUE(says(message_of<IoError>([&] { take(loader, broken, 50); }), {"sample 0 "}));
}

TEST(Loader, StopsCleanlyAtAnyMoment) {
  const SlowDataset slow(-1);
  for (int taken = 0; taken < 6; ++taken) {
    Loader loader(slow, {.micro_batch_size = 9, .threads = 3, .depth = 2});
    for (int i = 0; i < taken; ++i) take(loader, slow, 9);
  }
}

TEST(Loader, TellsTheTimeItWaited) {
  const SlowDataset slow(-1);
  Loader loader(slow, {.micro_batch_size = 50, .threads = 1, .depth = 1});
  take(loader, slow, 50);
  take(loader, slow, 50);
  EXPECT_GT(loader.waited_ms(), 1.0);  // 50 pauses of 111 us on average
  Loader ahead(images(), {.micro_batch_size = 1, .threads = 1, .depth = 8});
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  for (int i = 0; i < 8; ++i) take(ahead, images(), 1);
  EXPECT_EQ(ahead.waited_ms(), 0.0);
}

TEST(Loader, OptionsOutOfRangeAreTheUsersMistake) {
  EXPECT_THROW(Loader(images(), {.micro_batch_size = 0}), UserError);
  EXPECT_THROW(Loader(images(), {.first_sample = -1}), UserError);
  EXPECT_THROW(Loader(images(), {.threads = 0}), UserError);
  EXPECT_THROW(Loader(images(), {.depth = 0}), UserError);
}

}  // namespace
}  // namespace shardit
