// The arithmetic of convolutions by active weights.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "activations.h"
#include "kernels.h"
#include "vector.h"

namespace rigl_rl {
namespace RIGL_RL_ISA {

CorrelateFunction Correlate;
CorrelateGradientFunction CorrelateGradient;
SumLanesFunction SumLanesOfBlocks;

// Positions whose sums fit into the registers.
#if defined(__AVX512F__)
constexpr int kMostPositions = 14;
#elif defined(__AVX__)
constexpr int kMostPositions = 6;
#else
constexpr int kMostPositions = 3;
#endif

// Calls `work(first, skipped, n)` for tiles of n positions, a constant, that are
// about equally wide. The last one begins with `skipped` positions of the tile
// before.
template <int n = kMostPositions, typename Work>
static RIGL_RL_INLINED void ByPositions(int64_t positions, const Work& work) {
  const int64_t tiles = (positions + kMostPositions - 1) / kMostPositions;
  if constexpr (n > 1) {
    if (tiles * (n - 1) >= positions) {
      return ByPositions<n - 1>(positions, work);
    }
  }
  for (int64_t end = n;; end += n) {
    const int64_t skipped = std::max<int64_t>(end - positions, 0);
    work(end - n - skipped, skipped, std::integral_constant<int, n>());
    if (end >= positions) return;
  }
}

template <int n>
static void CorrelateTile(const Taps& taps, int64_t groups, const float* bias,
                          Activation activation, const float* x, float* y,
                          int64_t step) {
  for (int64_t g = 0; g < groups; ++g) {
    Vector sums[n];
    const Vector start = Zero() + (bias == nullptr ? 0.0f : bias[g]);
    for (int v = 0; v < n; ++v) sums[v] = start;
    for (int64_t k = taps.begins[g]; k < taps.begins[g + 1]; ++k) {
      const float* row = x + taps.taps[k].offset;
      const float weight = taps.taps[k].weight;
      for (int v = 0; v < n; ++v) sums[v] += weight * Load(row + v * kLanes);
    }
    for (int v = 0; v < n; ++v) {
      Store(y + g * kLanes + v * step, Activate(activation, sums[v]));
    }
  }
}

void Correlate(const Taps& taps, int64_t groups, const float* bias,
               Activation activation, const float* x, int64_t positions,
               float* y, int64_t step) {
  ByPositions(positions, [&](int64_t position, int64_t, auto n) {
    CorrelateTile<n>(taps, groups, bias, activation, x + position * kLanes,
                     y + position * step, step);
  });
}

template <int n>
static void GradientTile(const Taps& taps, int64_t groups, const float* x,
                         const float* delta, int64_t delta_size,
                         int64_t skipped, float* sums, float* bias_sums) {
  // So many sums that no addition waits for the previous one.
  constexpr int kParts = n < 4 ? n : 4;
  for (int64_t g = 0; g < groups; ++g) {
    Vector deltas[n];
    for (int v = 0; v < n; ++v) {
      deltas[v] =
          v < skipped ? Zero() : Load(delta + g * delta_size + v * kLanes);
    }
    Vector total = Load(bias_sums + g * kLanes);
    for (int v = 0; v < n; ++v) total += deltas[v];
    Store(bias_sums + g * kLanes, total);
    for (int64_t k = taps.begins[g]; k < taps.begins[g + 1]; ++k) {
      const float* row = x + taps.taps[k].offset;
      Vector parts[kParts];
      parts[0] = Load(sums + k * kLanes);
      for (int v = 1; v < kParts; ++v) parts[v] = Zero();
      for (int v = 0; v < n; ++v) {
        parts[v % kParts] += deltas[v] * Load(row + v * kLanes);
      }
      for (int v = 1; v < kParts; ++v) parts[0] += parts[v];
      Store(sums + k * kLanes, parts[0]);
    }
  }
}

void CorrelateGradient(const Taps& taps, int64_t groups, const float* x,
                       const float* delta, int64_t delta_size,
                       int64_t positions, float* sums, float* bias_sums) {
  ByPositions(positions, [&](int64_t position, int64_t skipped, auto n) {
    GradientTile<n>(taps, groups, x + position * kLanes,
                    delta + position * kLanes, delta_size, skipped, sums,
                    bias_sums);
  });
}

void SumLanesOfBlocks(const float* sums, int64_t size, int64_t blocks,
                      float* totals) {
  for (int64_t k = 0; k < size; k += kLanes) {
    Vector rows[kLanes];
    for (int u = 0; u < kLanes; ++u) {
      rows[u] = Zero();
      if (k + u >= size) continue;
      for (int64_t block = 0; block < blocks; ++block) {
        rows[u] += Load(sums + (block * size + k + u) * kLanes);
      }
    }
    float lanes[kLanes];
    Store(lanes, SumLanes(rows));
    std::copy_n(lanes, std::min(kLanes, size - k), totals + k);
  }
}

#undef RIGL_RL_SHUFFLE
#undef RIGL_RL_INLINED

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl
