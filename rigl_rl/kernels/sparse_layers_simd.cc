// The arithmetic of sparse layers, and the table of all kernels.
//
// A weight is multiplied with a whole row of examples at a time, so scattered
// reads are of rows, never of single numbers.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels.h"
#include "vector.h"

namespace rigl_rl {
namespace RIGL_RL_ISA {

// v * activation'(...), computed from the activation y.
static inline Vector TimesSlope(Activation activation, Vector v, Vector y) {
  if (activation == Activation::kRelu) return WhereAbove0(y, v);
  if (activation == Activation::kTanh) return v * (1.0f - y * y);
  return v;
}

static inline Vector Activate(Activation activation, Vector v) {
  if (activation == Activation::kRelu) return WhereAbove0(v, v);
  if (activation == Activation::kTanh) {
    float lanes[kLanes];
    Store(lanes, v);
    for (float& lane : lanes) lane = std::tanh(lane);
    return Load(lanes);
  }
  return v;
}

// sums[v] += sum_k values[k] * row(k) over `n` vectors of a row. `position` is
// null where weight k is value k.
template <int n, bool permuted>
static inline void WeightedSum(const int32_t* rows, const int32_t* positions,
                               const float* values, int64_t begin, int64_t end,
                               const float* x, int64_t stride, Vector* sums) {
  int64_t k = begin;
  // Few vectors get twice as many sums, so that no addition waits for the
  // previous one. Eight are enough, and sixteen leave no register for weights.
  constexpr bool twice = n < 8;
  Vector more[n];
  if (twice) {
    for (int v = 0; v < n; ++v) more[v] = Zero();
  }
  for (; twice && k + 2 <= end; k += 2) {
    const float* one = x + rows[k] * stride;
    const float* other = x + rows[k + 1] * stride;
    const float weight = values[permuted ? positions[k] : k];
    const float next = values[permuted ? positions[k + 1] : k + 1];
    for (int v = 0; v < n; ++v) {
      sums[v] += weight * Load(one + v * kLanes);
      more[v] += next * Load(other + v * kLanes);
    }
  }
  for (; k < end; ++k) {
    const float* one = x + rows[k] * stride;
    const float weight = values[permuted ? positions[k] : k];
    for (int v = 0; v < n; ++v) sums[v] += weight * Load(one + v * kLanes);
  }
  if (twice) {
    for (int v = 0; v < n; ++v) sums[v] += more[v];
  }
}

// Begins the sums of an output with its bias.
template <int n>
static inline void Begin(const float* bias, int64_t j, Vector* sums) {
  const Vector start = Zero() + (bias == nullptr ? 0.0f : bias[j]);
  for (int v = 0; v < n; ++v) sums[v] = start;
}

template <int n>
static inline void StoreActivated(Activation activation, const Vector* sums,
                                  float* y) {
  for (int v = 0; v < n; ++v) {
    Store(y + v * kLanes, Activate(activation, sums[v]));
  }
}

// Multiplies sums by the slope of the activation that gave x, if it is given.
template <int n>
static inline void StoreSloped(Activation activation, const Vector* sums,
                               const float* x, float* dx) {
  for (int v = 0; v < n; ++v) {
    Vector sum = sums[v];
    if (x != nullptr) sum = TimesSlope(activation, sum, Load(x + v * kLanes));
    Store(dx + v * kLanes, sum);
  }
}

template <int n>
static void ForwardTile(const SparseStructure& s, const float* values,
                        const float* bias, Activation activation,
                        const float* x, float* y, int64_t stride,
                        const Range& range) {
  for (int64_t j = range.first; j < range.last; ++j) {
    Vector sums[n];
    Begin<n>(bias, j, sums);
    WeightedSum<n, false>(s.sources, nullptr, values, s.output_begins[j],
                          s.output_begins[j + 1], x + range.begin, stride,
                          sums);
    StoreActivated<n>(activation, sums, y + j * stride + range.begin);
  }
}

template <int n>
static void InputTile(const SparseStructure& s, const float* values,
                      Activation activation, const float* x, const float* dy,
                      float* dx, int64_t stride, const Range& range) {
  for (int64_t i = range.first; i < range.last; ++i) {
    Vector sums[n];
    Begin<n>(nullptr, i, sums);
    WeightedSum<n, true>(s.targets, s.positions, values, s.input_begins[i],
                         s.input_begins[i + 1], dy + range.begin, stride,
                         sums);
    const int64_t at = i * stride + range.begin;
    StoreSloped<n>(activation, sums, x == nullptr ? x : x + at, dx + at);
  }
}

// The same for layers whose weights are all active: for several rows at once,
// so that each vector is read once for all of them.

// Vectors of sums that fit into the registers.
#if defined(__AVX512F__)
constexpr int kSums = 16;
#else
constexpr int kSums = 4;
#endif

// Calls `sum(i, rows)` for i of the range and as many rows from i on as fit, of
// n vectors each; at the end for one row at a time.
template <int n, typename Sum>
static RIGL_RL_INLINED void ByRows(const Range& range, const Sum& sum) {
  constexpr int kRows = n < kSums ? kSums / n : 1;
  int64_t i = range.first;
  for (; i + kRows <= range.last; i += kRows) {
    sum(i, std::integral_constant<int, kRows>());
  }
  for (; i < range.last; ++i) sum(i, std::integral_constant<int, 1>());
}

// Weight k of row r is values[r * row_step + k * step].
template <int n, int rows>
static inline void DenseSums(const float* values, int64_t row_step,
                             int64_t step, int64_t count, const float* x,
                             int64_t stride, Vector (*sums)[n]) {
  for (int64_t k = 0; k < count; ++k) {
    Vector vectors[n];
    for (int v = 0; v < n; ++v) vectors[v] = Load(x + k * stride + v * kLanes);
    for (int r = 0; r < rows; ++r) {
      const float weight = values[r * row_step + k * step];
      for (int v = 0; v < n; ++v) sums[r][v] += weight * vectors[v];
    }
  }
}

template <int n, int rows>
static inline void DenseForwardRows(const SparseStructure& s,
                                    const float* values, const float* bias,
                                    Activation activation, const float* x,
                                    float* y, int64_t stride, int64_t j) {
  Vector sums[rows][n];
  for (int r = 0; r < rows; ++r) Begin<n>(bias, j + r, sums[r]);
  DenseSums<n, rows>(values + j * s.inputs, s.inputs, 1, s.inputs, x, stride,
                     sums);
  for (int r = 0; r < rows; ++r) {
    StoreActivated<n>(activation, sums[r], y + (j + r) * stride);
  }
}

template <int n>
static void DenseForwardTile(const SparseStructure& s, const float* values,
                             const float* bias, Activation activation,
                             const float* x, float* y, int64_t stride,
                             const Range& range) {
  ByRows<n>(range, [&](int64_t j, auto rows) __attribute__((always_inline)) {
    DenseForwardRows<n, rows>(s, values, bias, activation, x + range.begin,
                              y + range.begin, stride, j);
  });
}

template <int n, int rows>
static inline void DenseInputRows(const SparseStructure& s,
                                  const float* values, Activation activation,
                                  const float* x, const float* dy, float* dx,
                                  int64_t stride, int64_t i) {
  Vector sums[rows][n];
  for (int r = 0; r < rows; ++r) Begin<n>(nullptr, i + r, sums[r]);
  DenseSums<n, rows>(values + i, 1, s.inputs, s.outputs, dy, stride, sums);
  for (int r = 0; r < rows; ++r) {
    const int64_t at = (i + r) * stride;
    StoreSloped<n>(activation, sums[r], x == nullptr ? x : x + at, dx + at);
  }
}

template <int n>
static void DenseInputTile(const SparseStructure& s, const float* values,
                           Activation activation, const float* x,
                           const float* dy, float* dx, int64_t stride,
                           const Range& range) {
  const float* below = x == nullptr ? nullptr : x + range.begin;
  ByRows<n>(range, [&](int64_t i, auto rows) __attribute__((always_inline)) {
    DenseInputRows<n, rows>(s, values, activation, below, dy + range.begin,
                            dx + range.begin, stride, i);
  });
}

// The gradients of biases: those of sixteen outputs at once.
template <int n>
static void BiasTile(const float* dy, float* dbias, int64_t stride,
                     const Range& range, bool adds) {
  for (int64_t j = range.first; j < range.last; j += kLanes) {
    const int64_t count = std::min(kLanes, range.last - j);
    Vector sums[kLanes];
    for (int64_t u = 0; u < kLanes; ++u) {
      // Repeats the last row where there are fewer.
      const float* row =
          dy + (j + std::min(u, count - 1)) * stride + range.begin;
      sums[u] = Load(row);
      for (int v = 1; v < n; ++v) sums[u] += Load(row + v * kLanes);
    }
    float total[kLanes];
    Store(total, SumLanes(sums));
    for (int64_t u = 0; u < count; ++u) {
      dbias[j + u] = adds ? dbias[j + u] + total[u] : total[u];
    }
  }
}

// What n vectors of examples add to the gradient of one weight, before its lanes
// are summed.
template <int n>
static inline Vector Product(const Vector* delta, const float* x) {
  Vector sum = delta[0] * Load(x);
  for (int v = 1; v < n; ++v) sum += delta[v] * Load(x + v * kLanes);
  return sum;
}

// Adds to the gradients, or writes the first part.
template <int n>
static void WeightTile(const SparseStructure& s, const float* x,
                       const float* dy, float* dvalues, float* dbias,
                       int64_t stride, const Range& range, bool adds) {
  if (dbias != nullptr) BiasTile<n>(dy, dbias, stride, range, adds);
  x += range.begin;
  // Lanes are summed for sixteen weights at once. An output's last weights, if
  // they are fewer, wait for those of the next outputs.
  Vector waiting[kLanes];
  int64_t places[kLanes];
  int count = 0;
  const auto add_waiting = [&]() __attribute__((always_inline)) {
    for (int u = count; u < kLanes; ++u) waiting[u] = Zero();
    float total[kLanes];
    Store(total, SumLanes(waiting));
    for (int u = 0; u < count; ++u) {
      float& gradient = dvalues[places[u]];
      gradient = adds ? gradient + total[u] : total[u];
    }
    count = 0;
  };
  for (int64_t j = range.first; j < range.last; ++j) {
    Vector delta[n];
    const float* row = dy + j * stride + range.begin;
    for (int v = 0; v < n; ++v) delta[v] = Load(row + v * kLanes);
    int64_t k = s.output_begins[j];
    const int64_t end = s.output_begins[j + 1];
    for (; k + kLanes <= end; k += kLanes) {
      Vector sums[kLanes];
#pragma GCC unroll 16
      for (int u = 0; u < kLanes; ++u) {
        sums[u] = Product<n>(delta, x + s.sources[k + u] * stride);
      }
      Vector total = SumLanes(sums);
      if (adds) total += Load(dvalues + k);
      Store(dvalues + k, total);
    }
    for (; k < end; ++k) {
      waiting[count] = Product<n>(delta, x + s.sources[k] * stride);
      places[count] = k;
      if (++count == kLanes) add_waiting();
    }
  }
  if (count > 0) add_waiting();
}

// Calls `work(tile, n)` for parts of the range of `n` vectors, the widest
// first. There are a few sizes, each a loop that the compiler unrolls. A tile
// of all rows of a layer fits into the second-level cache.
template <int widest, typename Work>
static RIGL_RL_INLINED void ByTiles(const Range& range, const Work& work) {
  for (Range tile = range; tile.begin < range.end;) {
    const int64_t left = (range.end - tile.begin) / kLanes;
    const auto take = [&](auto n) __attribute__((always_inline)) {
      work(tile, n);
      tile.begin += n * kLanes;
    };
    if (left >= 8 && widest >= 8) {
      take(std::integral_constant<int, 8>());
    } else if (left >= 4) {
      take(std::integral_constant<int, 4>());
    } else if (left >= 2) {
      take(std::integral_constant<int, 2>());
    } else {
      take(std::integral_constant<int, 1>());
    }
  }
}

// Uses the functions for layers whose weights are all active, or the others.
template <typename Dense, typename Sparse>
static RIGL_RL_INLINED void ByTiles(const SparseStructure& structure,
                                    const Range& range, const Dense& dense,
                                    const Sparse& sparse) {
  if (structure.is_full()) {
    ByTiles<4>(range, dense);
  } else {
    ByTiles<8>(range, sparse);
  }
}

static void Forward(const SparseStructure& structure, const float* values,
                    const float* bias, Activation activation, const float* x,
                    float* y, int64_t stride, Range range) {
  ByTiles(
      structure, range,
      [&](const Range& tile, auto n) {
        DenseForwardTile<n>(structure, values, bias, activation, x, y, stride,
                            tile);
      },
      [&](const Range& tile, auto n) {
        ForwardTile<n>(structure, values, bias, activation, x, y, stride, tile);
      });
}

static void InputGradient(const SparseStructure& structure,
                          const float* values, Activation activation,
                          const float* x, const float* dy, float* dx,
                          int64_t stride, Range range) {
  ByTiles(
      structure, range,
      [&](const Range& tile, auto n) {
        DenseInputTile<n>(structure, values, activation, x, dy, dx, stride,
                          tile);
      },
      [&](const Range& tile, auto n) {
        InputTile<n>(structure, values, activation, x, dy, dx, stride, tile);
      });
}

static void WeightGradient(const SparseStructure& structure, const float* x,
                           const float* dy, float* dvalues, float* dbias,
                           int64_t stride, Range range) {
  ByTiles<8>(range, [&](const Range& tile, auto n) {
    WeightTile<n>(structure, x, dy, dvalues, dbias, stride, tile,
                  tile.begin > range.begin);
  });
}

static void ActivationGradient(Activation activation, const float* y,
                               float* dy, int64_t stride, Range range) {
  if (activation == Activation::kLinear) return;
  for (int64_t i = range.first; i < range.last; ++i) {
    for (int64_t b = range.begin; b < range.end; b += kLanes) {
      float* at = dy + i * stride + b;
      Store(at, TimesSlope(activation, Load(at), Load(y + i * stride + b)));
    }
  }
}

#undef RIGL_RL_SHUFFLE
#undef RIGL_RL_INLINED

#define RIGL_RL_QUOTED(name) #name
#define RIGL_RL_NAME(name) RIGL_RL_QUOTED(name)

AdamFunction TakeAdamStep;
SoftUpdateFunction SoftUpdate;
MaintainSparsityFunction MaintainSparsity;
TransposeFunction ToColumns;
TransposeFunction FromColumns;

const Kernels kKernels = {
    RIGL_RL_NAME(RIGL_RL_ISA), TakeAdamStep,       SoftUpdate,
    MaintainSparsity,          Forward,            InputGradient,
    WeightGradient,            ActivationGradient, ToColumns,
    FromColumns};

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl
