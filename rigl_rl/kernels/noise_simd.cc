#include "noise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace rigl_rl {
namespace RIGL_RL_ISA {

namespace {

// The generator's (Salmon et al., 2011) groups of four that are drawn together.
constexpr int kGroups = 32;
using Bits = uint32_t[4][kGroups];

// Philox4x32-10 of `kGroups` counters; they are replaced.
inline void Philox(uint32_t key0, uint32_t key1, Bits& x) {
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kGroups; ++i) {
      const uint64_t a = uint64_t{0xD2511F53} * x[0][i];
      const uint64_t b = uint64_t{0xCD9E8D57} * x[2][i];
      x[0][i] = static_cast<uint32_t>(b >> 32) ^ x[1][i] ^ key0;
      x[1][i] = static_cast<uint32_t>(b);
      x[2][i] = static_cast<uint32_t>(a >> 32) ^ x[3][i] ^ key1;
      x[3][i] = static_cast<uint32_t>(a);
    }
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
}

// In [0, 1), by the lower 23 bits.
inline float Uniform(uint32_t bits) {
  const uint32_t word = (bits & 0x7fffff) | 0x3f800000;
  float x;
  std::memcpy(&x, &word, sizeof(x));
  return x - 1.0f;
}

// 1 / c and log(c) for c in the middle of each sixteenth of an octave.
constexpr double kInverse[16] = {
    0x1.661ec79f8f3bep+0, 0x1.571ed4aaf883dp+0, 0x1.49539f0f010bp+0,
    0x1.3c995b0b80385p+0, 0x1.30d190c8864a5p+0, 0x1.25e227b0b8eap+0,
    0x1.1bb4a4a1a343fp+0, 0x1.12358f08ae5bap+0, 0x1.0953f419900a7p+0,
    0x1p+0,               0x1.e608cfd9a47acp-1, 0x1.ca4b31f026aap-1,
    0x1.b2036576afce6p-1, 0x1.9c2d163a1aa2dp-1, 0x1.886e6037841edp-1,
    0x1.767dcf5534862p-1};
constexpr double kLogarithm[16] = {
    -0x1.57bf7808caadep-2, -0x1.2bef0a7c06ddbp-2, -0x1.01eae7f513a67p-2,
    -0x1.b31d8a68224e9p-3, -0x1.6574f0ac07758p-3, -0x1.1aa2bc79c81p-3,
    -0x1.a4e76ce8c0e5ep-4, -0x1.1973c5a611cccp-4, -0x1.252f438e10c1ep-5,
    0x0p+0,                0x1.aa5aa5df25984p-5,  0x1.c5e53aa362eb4p-4,
    0x1.526e57720db08p-3,  0x1.bc2860d22477p-3,   0x1.1058bc8a07ee1p-2,
    0x1.4043057b6ee09p-2};

// Of `kGroups` numbers above 0 that are not subnormal, in place.
inline void Log(float* x) {
  uint32_t bits[kGroups], from[kGroups];
  double inverse[kGroups], logarithm[kGroups];
  std::memcpy(bits, x, sizeof(bits));
  for (int i = 0; i < kGroups; ++i) from[i] = bits[i] - 0x3f330000;
  for (int i = 0; i < kGroups; ++i) {
    const uint32_t place = (from[i] >> 19) & 15;
    inverse[i] = kInverse[place];
    logarithm[i] = kLogarithm[place];
  }
  for (int i = 0; i < kGroups; ++i) bits[i] -= from[i] & 0xff800000;
  std::memcpy(x, bits, sizeof(bits));
  for (int i = 0; i < kGroups; ++i) {
    const int32_t power = static_cast<int32_t>(from[i]) >> 23;
    const double r = x[i] * inverse[i] - 1.0;
    const double y = logarithm[i] + power * 0x1.62e42fefa39efp-1;
    const double r2 = r * r;
    const double tail = -0x1.00ea348b88334p-2 * r2 +
                        (0x1.5575b0be00b6ap-2 * r + -0x1.ffffef20a4123p-2);
    x[i] = static_cast<float>(tail * r2 + (y + r));
  }
}

// Sine and cosine of an angle in [0, 120).
inline void SineAndCosine(float angle, float* sine, float* cosine) {
  const int32_t n =
      (static_cast<int32_t>(angle * 0x1.45f306dc9c883p+23) + 0x800000) >> 24;
  const double x = angle - n * 0x1.921fb54442d18p0;
  const double x2 = x * x;
  const double x3 = x2 * x;
  const double x4 = x2 * x2;
  const double s = (x + x3 * -0x1.555545995a603p-3) +
                   x3 * x2 *
                       (0x1.1107605230bc4p-7 + x2 * -0x1.994eb3774cf24p-13);
  const double c = (1.0 + x2 * -0x1.ffffffd0c621cp-2 +
                    x4 * 0x1.55553e1068f19p-5) +
                   x4 * x2 *
                       (-0x1.6c087e89a359dp-10 + x2 * 0x1.99343027bf8c3p-16);
  const float to_sine = static_cast<float>(n & 1 ? c : s);
  const float to_cosine = static_cast<float>(n & 1 ? s : c);
  *sine = n & 2 ? -to_sine : to_sine;
  *cosine = (n + 1) & 2 ? -to_cosine : to_cosine;
}

// Two numbers by two words each (Box & Muller, 1958).
inline void BoxMuller(const uint32_t* a, const uint32_t* b, float* first,
                      float* second) {
  float radius[kGroups];
  for (int i = 0; i < kGroups; ++i) radius[i] = std::max(Uniform(a[i]), 1e-7f);
  Log(radius);
  for (int i = 0; i < kGroups; ++i) radius[i] = std::sqrt(-2.0f * radius[i]);
  for (int i = 0; i < kGroups; ++i) {
    float sine, cosine;
    SineAndCosine(static_cast<float>(6.283185307179586 * Uniform(b[i])), &sine,
                  &cosine);
    first[i] = sine * radius[i];
    second[i] = cosine * radius[i];
  }
}

}  // namespace

void DrawNormal(int32_t seed0, int32_t seed1, int64_t size, float* values) {
  // As TensorFlow scrambles a seed.
  Bits x = {{static_cast<uint32_t>(seed0)},
            {seed0 < 0 ? ~0u : 0u},
            {static_cast<uint32_t>(seed1)},
            {seed1 < 0 ? ~0u : 0u}};
  Philox(0x3ec8f720, 0x02461e29, x);
  const uint32_t mix[4] = {x[0][0], x[1][0], x[2][0], x[3][0]};

  for (int64_t begin = 0; begin < size; begin += 4 * kGroups) {
    for (int i = 0; i < kGroups; ++i) {
      const uint64_t count = begin / 4 + i;
      x[0][i] = static_cast<uint32_t>(count);
      x[1][i] = static_cast<uint32_t>(count >> 32);
      x[2][i] = mix[2];
      x[3][i] = mix[3];
    }
    Philox(mix[0], mix[1], x);
    float normal[4][kGroups];
    BoxMuller(x[0], x[1], normal[0], normal[1]);
    BoxMuller(x[2], x[3], normal[2], normal[3]);
    float group[kGroups][4];
    for (int i = 0; i < kGroups; ++i) {
      for (int j = 0; j < 4; ++j) group[i][j] = normal[j][i];
    }
    std::memcpy(values + begin, group,
                std::min<int64_t>(4 * kGroups, size - begin) * sizeof(float));
  }
}

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl
