// The arithmetic of sparse layers, and the table of all kernels.
//
// A weight is multiplied with a whole row of examples at a time, so that what
// is read in any order are rows, and never single numbers.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels.h"
#include "vector.h"

namespace rigl_rl {
namespace RIGL_RL_ISA {

// v * activation'(y), by the activation y itself.
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
  // Where they are few, twice as many sums: an addition must not wait for the
  // one before. Eight are enough, and sixteen leave no register for weights.
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

template <int n>
static void ForwardTile(const SparseStructure& s, const float* values,
                        const float* bias, Activation activation,
                        const float* x, float* y, int64_t stride,
                        const Range& range) {
  for (int64_t j = range.first; j < range.last; ++j) {
    Vector sums[n];
    const Vector start = Zero() + (bias == nullptr ? 0.0f : bias[j]);
    for (int v = 0; v < n; ++v) sums[v] = start;
    WeightedSum<n, false>(s.sources, nullptr, values, s.output_begins[j],
                          s.output_begins[j + 1], x + range.begin, stride,
                          sums);
    float* out = y + j * stride + range.begin;
    for (int v = 0; v < n; ++v) {
      Store(out + v * kLanes, Activate(activation, sums[v]));
    }
  }
}

template <int n>
static void InputTile(const SparseStructure& s, const float* values,
                      Activation activation, const float* x, const float* dy,
                      float* dx, int64_t stride, const Range& range) {
  for (int64_t i = range.first; i < range.last; ++i) {
    Vector sums[n];
    for (int v = 0; v < n; ++v) sums[v] = Zero();
    WeightedSum<n, true>(s.targets, s.positions, values, s.input_begins[i],
                         s.input_begins[i + 1], dy + range.begin, stride,
                         sums);
    const int64_t at = i * stride + range.begin;
    for (int v = 0; v < n; ++v) {
      Vector sum = sums[v];
      if (x != nullptr) {
        sum = TimesSlope(activation, sum, Load(x + at + v * kLanes));
      }
      Store(dx + at + v * kLanes, sum);
    }
  }
}

// The same where a layer has all its weights: for several rows at once, so that
// a vector that has been read is used for each of them.

// Vectors of sums that the registers have room for.
#if defined(__AVX512F__)
constexpr int kSums = 16;
#else
constexpr int kSums = 4;
#endif

// Calls `sum(i, rows)` for i of the range and as many rows from there on as have
// room, of n vectors each; at the end for one at a time.
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
  for (int r = 0; r < rows; ++r) {
    const Vector start = Zero() + (bias == nullptr ? 0.0f : bias[j + r]);
    for (int v = 0; v < n; ++v) sums[r][v] = start;
  }
  DenseSums<n, rows>(values + j * s.inputs, s.inputs, 1, s.inputs, x, stride,
                     sums);
  for (int r = 0; r < rows; ++r) {
    float* out = y + (j + r) * stride;
    for (int v = 0; v < n; ++v) {
      Store(out + v * kLanes, Activate(activation, sums[r][v]));
    }
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
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < n; ++v) sums[r][v] = Zero();
  }
  DenseSums<n, rows>(values + i, 1, s.inputs, s.outputs, dy, stride, sums);
  for (int r = 0; r < rows; ++r) {
    const int64_t at = (i + r) * stride;
    for (int v = 0; v < n; ++v) {
      Vector sum = sums[r][v];
      if (x != nullptr) {
        sum = TimesSlope(activation, sum, Load(x + at + v * kLanes));
      }
      Store(dx + at + v * kLanes, sum);
    }
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
      // The last row again, where there are fewer.
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

// Adds to the gradients, or begins them.
template <int n>
static void WeightTile(const SparseStructure& s, const float* x,
                       const float* dy, float* dvalues, float* dbias,
                       int64_t stride, const Range& range, bool adds) {
  if (dbias != nullptr) BiasTile<n>(dy, dbias, stride, range, adds);
  x += range.begin;
  // Lanes are summed for sixteen weights at once: what is left of an output's
  // weights waits for that of the next ones.
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

// Calls `tile<n>` for parts of the range of `n` vectors, the widest first: a
// few sizes, each a loop that the compiler unrolls. So many vectors of as many
// rows as layers have lie in the second cache at most.
#define RIGL_RL_TILES(widest, range, call)                          \
  for (Range tile = range; tile.begin < range.end;) {               \
    const int64_t left = (range.end - tile.begin) / kLanes;         \
    const int64_t width = left >= 8 && widest >= 8 ? 8              \
                          : left >= 4              ? 4              \
                          : left >= 2              ? 2              \
                                                   : 1;             \
    switch (width) {                                                \
      case 8:                                                       \
        call(8);                                                    \
        break;                                                      \
      case 4:                                                       \
        call(4);                                                    \
        break;                                                      \
      case 2:                                                       \
        call(2);                                                    \
        break;                                                      \
      default:                                                      \
        call(1);                                                    \
    }                                                               \
    tile.begin += width * kLanes;                                   \
  }

static void Forward(const SparseStructure& structure, const float* values,
                    const float* bias, Activation activation, const float* x,
                    float* y, int64_t stride, Range range) {
#define RIGL_RL_CALL(n) \
  ForwardTile<n>(structure, values, bias, activation, x, y, stride, tile)
#define RIGL_RL_DENSE_CALL(n) \
  DenseForwardTile<n>(structure, values, bias, activation, x, y, stride, tile)
  if (structure.is_full()) {
    RIGL_RL_TILES(4, range, RIGL_RL_DENSE_CALL)
  } else {
    RIGL_RL_TILES(8, range, RIGL_RL_CALL)
  }
#undef RIGL_RL_DENSE_CALL
#undef RIGL_RL_CALL
}

static void InputGradient(const SparseStructure& structure,
                          const float* values, Activation activation,
                          const float* x, const float* dy, float* dx,
                          int64_t stride, Range range) {
#define RIGL_RL_CALL(n) \
  InputTile<n>(structure, values, activation, x, dy, dx, stride, tile)
#define RIGL_RL_DENSE_CALL(n) \
  DenseInputTile<n>(structure, values, activation, x, dy, dx, stride, tile)
  if (structure.is_full()) {
    RIGL_RL_TILES(4, range, RIGL_RL_DENSE_CALL)
  } else {
    RIGL_RL_TILES(8, range, RIGL_RL_CALL)
  }
#undef RIGL_RL_DENSE_CALL
#undef RIGL_RL_CALL
}

static void WeightGradient(const SparseStructure& structure, const float* x,
                           const float* dy, float* dvalues, float* dbias,
                           int64_t stride, Range range) {
#define RIGL_RL_CALL(n)                                              \
  WeightTile<n>(structure, x, dy, dvalues, dbias, stride, tile, \
                tile.begin > range.begin)
  RIGL_RL_TILES(8, range, RIGL_RL_CALL)
#undef RIGL_RL_CALL
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

#if defined(__AVX512F__)
// Transposes as many vectors as each has lanes: exchanges halves, then quarters,
// and so on.
static inline void Transpose(Vector* v) {
#define RIGL_RL_LIST(...) __VA_ARGS__
#define RIGL_RL_EXCHANGE(n, low, high)                   \
  for (int i = 0; i < kLanes; ++i) {                     \
    if (i & n) continue;                                 \
    const Vector a = v[i];                               \
    const Vector b = v[i + n];                           \
    v[i] = RIGL_RL_SHUFFLE(a, b, RIGL_RL_LIST low);      \
    v[i + n] = RIGL_RL_SHUFFLE(a, b, RIGL_RL_LIST high); \
  }
  RIGL_RL_EXCHANGE(
      8, (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
      (8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
  RIGL_RL_EXCHANGE(
      4, (0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
      (4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
  RIGL_RL_EXCHANGE(
      2, (0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
      (2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
  RIGL_RL_EXCHANGE(
      1, (0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
      (1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
#undef RIGL_RL_EXCHANGE
#undef RIGL_RL_LIST
}

// Transposes squares of so many lanes, of `rows` rows of x and `columns`
// columns; returns up to which column. What is not part of one is left.
static int64_t TransposeSquares(const float* x, int64_t x_stride, int64_t rows,
                                int64_t columns, float* y, int64_t y_stride) {
  if (rows < kLanes) return 0;
  int64_t j = 0;
  for (; j + kLanes <= columns; j += kLanes) {
    Vector v[kLanes];
    for (int u = 0; u < kLanes; ++u) v[u] = Load(x + u * x_stride + j);
    Transpose(v);
    for (int u = 0; u < kLanes; ++u) Store(y + (j + u) * y_stride, v[u]);
  }
  return j;
}
#else
// What has fewer lanes takes longer to shuffle them than to move each.
static int64_t TransposeSquares(const float*, int64_t, int64_t, int64_t, float*,
                                int64_t) {
  return 0;
}
#endif

static void ToColumns(const float* x, int64_t examples, int64_t features,
                      int64_t stride, float* columns) {
  for (int64_t b = 0; b < examples; b += kLanes) {
    const int64_t rows = std::min(kLanes, examples - b);
    const float* from = x + b * features;
    int64_t i =
        TransposeSquares(from, features, rows, features, columns + b, stride);
    for (; i < features; ++i) {
      float* to = columns + i * stride + b;
      int64_t u = 0;
      for (; u < rows; ++u) to[u] = from[u * features + i];
      for (; u < kLanes; ++u) to[u] = 0.0f;
    }
  }
}

static void FromColumns(const float* columns, int64_t examples,
                        int64_t features, int64_t stride, float* y) {
  int64_t i = 0;
  for (; i + kLanes <= features; i += kLanes) {
    const float* from = columns + i * stride;
    int64_t b =
        TransposeSquares(from, stride, kLanes, examples, y + i, features);
    for (; b < examples; ++b) {
      for (int64_t u = 0; u < kLanes; ++u) {
        y[b * features + i + u] = from[u * stride + b];
      }
    }
  }
  for (int64_t b = 0; b < examples; ++b) {
    for (int64_t u = i; u < features; ++u) {
      y[b * features + u] = columns[u * stride + b];
    }
  }
}

#undef RIGL_RL_TILES
#undef RIGL_RL_SHUFFLE
#undef RIGL_RL_INLINED

#define RIGL_RL_QUOTED(name) #name
#define RIGL_RL_NAME(name) RIGL_RL_QUOTED(name)

AdamFunction TakeAdamStep;
SoftUpdateFunction SoftUpdate;
MaintainSparsityFunction MaintainSparsity;

const Kernels kKernels = {
    RIGL_RL_NAME(RIGL_RL_ISA), TakeAdamStep,       SoftUpdate,
    MaintainSparsity,          Forward,            InputGradient,
    WeightGradient,            ActivationGradient, ToColumns,
    FromColumns};

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl
