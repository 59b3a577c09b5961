// The arithmetic of sparse layers, and the table of all kernels.
//
// A weight is multiplied with a whole row of examples at a time, so scattered
// reads are of rows, never of single numbers.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "activations.h"
#include "kernels.h"
#include "vector.h"

namespace rigl_rl {
namespace RIGL_RL_ISA {

TransposeFunction FromColumns;

// Vectors of sums that fit into the registers.
#if defined(__AVX512F__)
constexpr int kSums = 16;
#else
constexpr int kSums = 4;
#endif

// The weights of outputs, or of inputs: those of row i are values[begins[i]],
// ..., and come from rows `sources` of what they are multiplied with.
struct Weights {
  const int32_t* begins;
  const int32_t* sources;
  const float* values;
  // How many each row has, where all are active; else 0.
  int64_t of_full_row;
  // Then, from a value to the one in the next row, and to the next of its row.
  int64_t row_stride;
  int64_t stride;
};

// sums[v] += sum_k values[k] * row(k) over `n` vectors of a row.
template <int n>
static inline void WeightedSum(const Weights& weights, int64_t i,
                               const float* x, int64_t stride, Vector* sums) {
  const int32_t* const rows = weights.sources;
  const float* const values = weights.values;
  int64_t k = weights.begins[i];
  const int64_t end = weights.begins[i + 1];
  // Twice as many sums, if there is room, so that no addition waits for the
  // previous one.
  constexpr bool twice = n < kSums;
  Vector more[n];
  if (twice) {
    for (int v = 0; v < n; ++v) more[v] = Zero();
  }
  for (; twice && k + 2 <= end; k += 2) {
    const float* one = x + rows[k] * stride;
    const float* other = x + rows[k + 1] * stride;
    const float weight = values[k];
    const float next = values[k + 1];
    for (int v = 0; v < n; ++v) {
      sums[v] += weight * Load(one + v * kLanes);
      more[v] += next * Load(other + v * kLanes);
    }
  }
  for (; k < end; ++k) {
    const float* one = x + rows[k] * stride;
    const float weight = values[k];
    for (int v = 0; v < n; ++v) sums[v] += weight * Load(one + v * kLanes);
  }
  if (twice) {
    for (int v = 0; v < n; ++v) sums[v] += more[v];
  }
}

// Begins the sums of a row with its bias.
template <int n>
static inline void Begin(const float* bias, int64_t i, Vector* sums) {
  const Vector start = Zero() + (bias == nullptr ? 0.0f : bias[i]);
  for (int v = 0; v < n; ++v) sums[v] = start;
}

// Calls `store(i, sums)` for the rows of the range.
template <int n, typename StoreSums>
static RIGL_RL_INLINED void SparseTile(const Weights& weights,
                                       const float* bias, const float* x,
                                       int64_t stride, const Range& range,
                                       const StoreSums& store) {
  for (int64_t i = range.first; i < range.last; ++i) {
    Vector sums[n];
    Begin<n>(bias, i, sums);
    WeightedSum<n>(weights, i, x + range.begin, stride, sums);
    store(i, sums);
  }
}

// The same for layers whose weights are all active: for several rows at once,
// so that each vector is read once for all of them.
template <int n, int rows, typename StoreSums>
static RIGL_RL_INLINED void DenseRows(const Weights& weights, const float* bias,
                                      const float* x, int64_t stride,
                                      int64_t i, const StoreSums& store) {
  const float* const values = weights.values + i * weights.row_stride;
  Vector sums[rows][n];
  for (int r = 0; r < rows; ++r) Begin<n>(bias, i + r, sums[r]);
  for (int64_t k = 0; k < weights.of_full_row; ++k) {
    Vector vectors[n];
    for (int v = 0; v < n; ++v) vectors[v] = Load(x + k * stride + v * kLanes);
    for (int r = 0; r < rows; ++r) {
      const float weight = values[r * weights.row_stride + k * weights.stride];
      for (int v = 0; v < n; ++v) sums[r][v] += weight * vectors[v];
    }
  }
  for (int r = 0; r < rows; ++r) store(i + r, sums[r]);
}

template <int n, typename StoreSums>
static RIGL_RL_INLINED void DenseTile(const Weights& weights, const float* bias,
                                      const float* x, int64_t stride,
                                      const Range& range,
                                      const StoreSums& store) {
  constexpr int kRows = n < kSums ? kSums / n : 1;
  x += range.begin;
  int64_t i = range.first;
  for (; i + kRows <= range.last; i += kRows) {
    DenseRows<n, kRows>(weights, bias, x, stride, i, store);
  }
  for (; i < range.last; ++i) {
    DenseRows<n, 1>(weights, bias, x, stride, i, store);
  }
}

// Calls `work(tile, n)` for parts of the range of `n` vectors, the widest
// first. There are a few sizes, each a loop that the compiler unrolls.
template <typename Work>
static RIGL_RL_INLINED void ByTiles(const Range& range, const Work& work) {
  for (Range tile = range; tile.begin < range.end;) {
    const int64_t left = (range.end - tile.begin) / kLanes;
    const auto take = [&](auto n) __attribute__((always_inline)) {
      work(tile, n);
      tile.begin += n * kLanes;
    };
    if (left >= 4) {
      take(std::integral_constant<int, 4>());
    } else if (left >= 2) {
      take(std::integral_constant<int, 2>());
    } else {
      take(std::integral_constant<int, 1>());
    }
  }
}

// Calls `store(i, at, sum)` for all vectors of the range: `sum` is what row i of
// the result has from column `at` on.
template <typename StoreSum>
static RIGL_RL_INLINED void SumRows(const Weights& weights, const float* bias,
                                    const float* x, int64_t stride,
                                    const Range& range, const StoreSum& store) {
  ByTiles(range, [&](const Range& tile, auto n) __attribute__((always_inline)) {
    const auto store_row = [&](int64_t i, const Vector* sums)
        __attribute__((always_inline)) {
      for (int v = 0; v < n; ++v) {
        store(i, tile.begin + v * kLanes, sums[v]);
      }
    };
    if (weights.of_full_row > 0) {
      DenseTile<n>(weights, bias, x, stride, tile, store_row);
    } else {
      SparseTile<n>(weights, bias, x, stride, tile, store_row);
    }
  });
}

static void Forward(const SparseStructure& s, const float* values,
                    const float* bias, Activation activation, const float* x,
                    float* y, int64_t stride, Range range) {
  Weights weights = {s.output_begins,           s.sources, values,
                     s.is_full() ? s.inputs : 0, s.inputs,  1};
  if (s.is_kernel()) {
    weights.row_stride = 1;
    weights.stride = s.outputs;
  }
  SumRows(weights, bias, x, stride, range,
          [&](int64_t i, int64_t at, Vector sum)
              __attribute__((always_inline)) {
                Store(y + i * stride + at, Activate(activation, sum));
              });
}

static void InputGradient(const SparseStructure& s, const float* values,
                          Activation activation, const float* x,
                          const float* dy, float* dx, int64_t stride,
                          Range range) {
  const Weights weights = {s.input_begins,             s.targets, values,
                           s.is_full() ? s.outputs : 0, s.outputs, 1};
  SumRows(weights, nullptr, dy, stride, range,
          [&](int64_t i, int64_t column, Vector sum)
              __attribute__((always_inline)) {
                const int64_t at = i * stride + column;
                if (x != nullptr) {
                  sum = TimesSlope(activation, sum, Load(x + at));
                }
                Store(dx + at, sum);
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
static RIGL_RL_INLINED Vector Product(const Vector* delta, const float* x) {
  Vector sum = delta[0] * Load(x);
  for (int v = 1; v < n; ++v) sum += delta[v] * Load(x + v * kLanes);
  return sum;
}

// What n vectors of examples add to the gradients of the first `count` of
// sixteen weights; 0 for the others.
template <int n>
static RIGL_RL_INLINED Vector Products(const Vector* delta, const float* x,
                                       int64_t stride, const int32_t* sources,
                                       int64_t count) {
  Vector sums[kLanes];
#pragma GCC unroll 16
  for (int u = 0; u < kLanes; ++u) {
    sums[u] = Zero();
    if (u < count) sums[u] = Product<n>(delta, x + sources[u] * stride);
  }
  return SumLanes(sums);
}

// Adds to the gradients, or writes the first part.
template <int n>
static void WeightTile(const SparseStructure& s, const float* x,
                       const float* dy, float* dvalues, float* dbias,
                       int64_t stride, const Range& range, bool adds) {
  if (dbias != nullptr) BiasTile<n>(dy, dbias, stride, range, adds);
  x += range.begin;
  const int64_t last = s.output_begins[range.last];
  for (int64_t j = range.first; j < range.last; ++j) {
    Vector delta[n];
    const float* row = dy + j * stride + range.begin;
    for (int v = 0; v < n; ++v) delta[v] = Load(row + v * kLanes);
    int64_t k = s.output_begins[j];
    const int64_t end = s.output_begins[j + 1];
    for (; k + kLanes <= end; k += kLanes) {
      Vector total = Products<n>(delta, x, stride, s.sources + k, kLanes);
      if (adds) total += Load(dvalues + k);
      Store(dvalues + k, total);
    }
    if (k == end) continue;
    Vector total = Products<n>(delta, x, stride, s.sources + k, end - k);
    if (k + kLanes <= last) {
      // The zeros are added to gradients of the next outputs, or overwritten.
      if (adds) total += Load(dvalues + k);
      Store(dvalues + k, total);
      continue;
    }
    float lanes[kLanes];
    Store(lanes, total);
    for (int u = 0; k < end; ++k, ++u) {
      dvalues[k] = adds ? dvalues[k] + lanes[u] : lanes[u];
    }
  }
}

// Outputs, and examples, whose gradients are transposed at a time: so many that
// they are in the first cache.
constexpr int64_t kPanel = 64;

// The gradient of a kernel (inputs, outputs): x times the transposed dy, as a
// full layer's forward pass.
static void KernelGradient(const SparseStructure& s, const float* x,
                           const float* dy, float* dkernel, int64_t stride,
                           const Range& range, bool adds) {
  // A vector may end behind the last example's.
  alignas(64) float panel[kPanel * kPanel + kLanes];
  for (int64_t b = range.begin; b < range.end; b += kPanel) {
    const int64_t examples = std::min(kPanel, range.end - b);
    const Weights weights = {nullptr, nullptr, x + b, examples, stride, 1};
    const bool adds_now = adds || b > range.begin;
    for (int64_t j = range.first; j < range.last; j += kPanel) {
      const int64_t outputs = std::min(kPanel, range.last - j);
      FromColumns(dy + j * stride + b, examples, outputs, stride, panel);
      const int64_t lanes = (outputs + kLanes - 1) / kLanes * kLanes;
      SumRows(weights, nullptr, panel, outputs, {0, lanes, 0, s.inputs},
              [&](int64_t i, int64_t at, Vector sum)
                  __attribute__((always_inline)) {
                    float* const to = dkernel + i * s.outputs + j + at;
                    if (at + kLanes <= outputs) {
                      if (adds_now) sum += Load(to);
                      Store(to, sum);
                      return;
                    }
                    float sums[kLanes];
                    Store(sums, sum);
                    for (int64_t u = 0; u < outputs - at; ++u) {
                      to[u] = adds_now ? to[u] + sums[u] : sums[u];
                    }
                  });
    }
  }
}

static void WeightGradient(const SparseStructure& structure, const float* x,
                           const float* dy, float* dvalues, float* dbias,
                           int64_t stride, Range range, bool adds) {
  ByTiles(range, [&](const Range& tile, auto n) {
    const bool adds_tile = adds || tile.begin > range.begin;
    if (!structure.is_kernel()) {
      WeightTile<n>(structure, x, dy, dvalues, dbias, stride, tile, adds_tile);
    } else if (dbias != nullptr) {
      BiasTile<n>(dy, dbias, stride, tile, adds_tile);
    }
  });
  if (structure.is_kernel()) {
    KernelGradient(structure, x, dy, dvalues, stride, range, adds);
  }
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
DrawNormalFunction DrawNormal;
TransposeFunction ToColumns;
CorrelateFunction Correlate;
CorrelateGradientFunction CorrelateGradient;
SumLanesFunction SumLanesOfBlocks;
SpreadFunction Spread;
CollectFunction Collect;

const Kernels kKernels = {
    RIGL_RL_NAME(RIGL_RL_ISA), TakeAdamStep,       SoftUpdate,
    MaintainSparsity,          DrawNormal,         Forward,
    InputGradient,             WeightGradient,     ActivationGradient,
    ToColumns,                 FromColumns,        Correlate,
    CorrelateGradient,         SumLanesOfBlocks,   Spread,
    Collect};

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl
