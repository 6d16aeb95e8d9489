#include "data/sample_reader.h"

#include <algorithm>
#include <stdexcept>

#include "data/corrupt_image.h"

namespace shardit {
namespace {

constexpr uint32_t kMaxReplacements = 100;  // with half of all images corrupt, one sample in 10^30 needs more

}  // namespace

void mirror(uint8_t* pixels, int64_t height, int64_t width, int64_t channels) {
  for (int64_t y = 0; y < height; ++y, pixels += width * channels)
    for (int64_t left = 0, right = width - 1; left < right; ++left, --right)
      std::swap_ranges(pixels + left * channels, pixels + (left + 1) * channels, pixels + right * channels);
}

void SampleReader::read(int64_t sample, uint8_t* pixels, int64_t* label, std::vector<CorruptSample>& corrupt) const {
  read_image(order_.index(sample), sample, pixels, label, corrupt);
  if (flip_ && order_.flipped(sample)) mirror(pixels, dataset_.height(), dataset_.width(), dataset_.channels());
}

void SampleReader::read_image(int64_t index, int64_t sample, uint8_t* pixels, int64_t* label,
                              std::vector<CorruptSample>& corrupt) const {
  for (uint32_t attempt = 0;; ++attempt) {
    try {
      return read_or_name(index, sample, pixels, label);
    } catch (const CorruptImage& error) {
      if (on_corrupt_ == OnCorrupt::kFail)
        throw CorruptImage(std::string(error.what()) +
                           "\nfix: replace the file, or go on without it by data.on_corrupt=skip");
      if (attempt == kMaxReplacements)
        throw CorruptImage(std::string(error.what()) + "\nand so were all " + std::to_string(kMaxReplacements) +
                           " that were drawn before in its place");
      corrupt.push_back({sample, error.what()});
      index = order_.replacement(sample, attempt);
    }
  }
}

// An error keeps its kind and gets the names of the sample and the image.
void SampleReader::read_or_name(int64_t index, int64_t sample, uint8_t* pixels, int64_t* label) const {
  const auto named = [&](const std::exception& error) {
    return "sample " + std::to_string(sample) + " (image " + std::to_string(index) + " of " + dataset_.name() +
           "): " + error.what();
  };
  try {
    dataset_.read(index, pixels, label);
  } catch (const CorruptImage& error) {
    throw CorruptImage(named(error));
  } catch (const UserError& error) {
    throw UserError(named(error));
  } catch (const IoError& error) {
    throw IoError(named(error));
  } catch (const std::exception& error) {
    throw std::runtime_error(named(error));
  }
}

}  // namespace shardit
