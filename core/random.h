// All randomness of a run, as pure functions of keys: no state, no order, no thread or rank.
//
// A draw is named by (seed, purpose, item, element): `item` is the global sample number, or the hash of a tensor's
// name for initial weights; `lane` separates draws of one item (a sampler's step, an epoch). Philox4x32-10 (Salmon
// et al., SC 2011) turns the name into 128 random bits. Normals come from the inverse CDF in fused multiply-adds of
// fixed order, so that CPU and GPU, compiled from this one source, give the same bits.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/host_device.h"

namespace shardit {

enum class Purpose : uint32_t {
  kInitialWeights = 1,
  kSampleOrder = 2,
  kFlip = 3,
  kNoise = 4,
  kTime = 5,
  kLabelDrop = 6,
  kReplacement = 7,  // which image stands in for a corrupt one
  kAutoencoderNoise = 8,
  kSampling = 9,  // start noise and step noise of generated images
  kValidation = 10,
  kSynthetic = 11,  // synthetic data
};

struct Philox {
  uint32_t key[2];

  SHARDIT_HOST_DEVICE Philox(uint64_t seed, Purpose purpose) {
    // splitmix64's finaliser: neighbouring seeds and purposes get unrelated keys.
    uint64_t z = seed + 0x9e3779b97f4a7c15ull * (static_cast<uint64_t>(purpose) + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    key[0] = static_cast<uint32_t>(z);
    key[1] = static_cast<uint32_t>(z >> 32);
  }

  struct Block {
    uint32_t word[4];
  };

  // The 128 bits named by (item, block, lane).
  SHARDIT_HOST_DEVICE Block operator()(uint64_t item, uint32_t block, uint32_t lane = 0) const {
    return rounds(static_cast<uint32_t>(item), static_cast<uint32_t>(item >> 32), block, lane, key[0], key[1]);
  }

  static SHARDIT_HOST_DEVICE Block rounds(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0,
                                          uint32_t k1) {
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = 0xd2511f53ull * c0, p1 = 0xcd9e8d57ull * c2;
      const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c1 = static_cast<uint32_t>(p1);
      c3 = static_cast<uint32_t>(p0);
      c0 = n0;
      c2 = n2;
      k0 += 0x9e3779b9u;
      k1 += 0xbb67ae85u;
    }
    return {{c0, c1, c2, c3}};
  }
};

// The open interval (0, 1): the centres of 2^23 equal cells, exact in binary32 and so is 1 minus them.
SHARDIT_HOST_DEVICE float uniform_from_bits(uint32_t bits) {
  return fmaf(static_cast<float>(bits >> 9), 0x1p-23f, 0x1p-24f);
}

// Natural logarithm of a positive normal float: 2^e * m with m in [sqrt(1/2), sqrt(2)), log m from
// 2 artanh((m-1)/(m+1)). Error below 2 ulp; the same bits wherever division and fma are IEEE.
SHARDIT_HOST_DEVICE float portable_log(float x) {
  int32_t u;
  memcpy(&u, &x, sizeof u);
  const int32_t e = (u - 0x3f3504f3) >> 23;
  const int32_t mantissa_bits = u - (e << 23);
  float m;
  memcpy(&m, &mantissa_bits, sizeof m);
  const float s = (m - 1.0f) / (m + 1.0f), z = s * s;
  float p = 2.0f / 11;  // of the series 2 (s + s^3/3 + s^5/5 + …), from the smallest term
  p = fmaf(p, z, 2.0f / 9);
  p = fmaf(p, z, 2.0f / 7);
  p = fmaf(p, z, 2.0f / 5);
  p = fmaf(p, z, 2.0f / 3);
  const float log_m = fmaf(s * z, p, 2.0f * s);
  return fmaf(static_cast<float>(e), 0.693147182464599609375f,
              fmaf(static_cast<float>(e), -1.904654323148236e-9f, log_m));
}

// The standard normal quantile of (bits >> 9 + 1/2) / 2^23, through erfinv's two single-precision polynomials
// (Giles, "Approximating the erfinv function", GPU Computing Gems 2011). |result| <= 5.30.
SHARDIT_HOST_DEVICE float normal_from_bits(uint32_t bits) {
  const float u = uniform_from_bits(bits);
  const float x = fmaf(2.0f, u, -1.0f);                        // exact
  const float tail = u < 0.5f ? u : 1.0f - u;                  // exact
  const float w = -portable_log(4.0f * tail * (1.0f - tail));  // -log(1 - x^2) without cancellation
  const float a = w - 2.5f;
  float p = 2.81022636e-08f;
  p = fmaf(p, a, 3.43273939e-07f);
  p = fmaf(p, a, -3.5233877e-06f);
  p = fmaf(p, a, -4.39150654e-06f);
  p = fmaf(p, a, 0.00021858087f);
  p = fmaf(p, a, -0.00125372503f);
  p = fmaf(p, a, -0.00417768164f);
  p = fmaf(p, a, 0.246640727f);
  p = fmaf(p, a, 1.50140941f);
  const float b = sqrtf(w) - 3.0f;
  float q = -0.000200214257f;
  q = fmaf(q, b, 0.000100950558f);
  q = fmaf(q, b, 0.00134934322f);
  q = fmaf(q, b, -0.00367342844f);
  q = fmaf(q, b, 0.00573950773f);
  q = fmaf(q, b, -0.0076224613f);
  q = fmaf(q, b, 0.00943887047f);
  q = fmaf(q, b, 1.00167406f);
  q = fmaf(q, b, 2.83297682f);
  return 1.41421356237309504880f * ((w < 5.0f ? p : q) * x);
}

// One draw of each kind. `element` counts within the item; four neighbours share a Philox block.
SHARDIT_HOST_DEVICE uint32_t bits_at(const Philox& philox, uint64_t item, uint64_t element, uint32_t lane = 0) {
  return philox(item, static_cast<uint32_t>(element >> 2), lane).word[element & 3];
}
SHARDIT_HOST_DEVICE float uniform_at(const Philox& philox, uint64_t item, uint64_t element, uint32_t lane = 0) {
  return uniform_from_bits(bits_at(philox, item, element, lane));
}
SHARDIT_HOST_DEVICE float normal_at(const Philox& philox, uint64_t item, uint64_t element, uint32_t lane = 0) {
  return normal_from_bits(bits_at(philox, item, element, lane));
}
// An integer in [0, n): the high half of a 64-bit product, biased by at most n / 2^32.
SHARDIT_HOST_DEVICE uint32_t integer_at(const Philox& philox, uint64_t item, uint64_t element, uint32_t n) {
  return static_cast<uint32_t>((static_cast<uint64_t>(bits_at(philox, item, element)) * n) >> 32);
}

// The standard normal quantile of q in (0, 1), to the grid of normal_from_bits.
SHARDIT_HOST_DEVICE float normal_quantile(double q) {
  return normal_from_bits(static_cast<uint32_t>(q * 8388608.0) << 9);
}

// FNV-1a: the item number of a tensor's initial weights is the hash of its name.
constexpr uint64_t hash_name(std::string_view name) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (char c : name) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  return h;
}

}  // namespace shardit
