// The arithmetic of sparse layers. Included once for each kind of processor,
// by a file that sets RIGL_RL_ISA, its namespace, and is compiled for it.
//
// A weight is multiplied with a whole row of examples at a time, so that what
// is read in any order are rows, and never single numbers.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "sparse_layers.h"

namespace rigl_rl {
namespace RIGL_RL_ISA {

// What the compiler makes of it is one register or several.
typedef float Vector
    __attribute__((vector_size(64), aligned(4), may_alias));
static_assert(sizeof(Vector) == kLanes * sizeof(float), "");

static inline Vector Load(const float* p) {
  return *reinterpret_cast<const Vector*>(p);
}
static inline void Store(float* p, Vector v) {
  *reinterpret_cast<Vector*>(p) = v;
}
static inline Vector Zero() { return Vector{}; }

static inline Vector Max0(Vector v) { return v > 0.0f ? v : Zero(); }

// v * activation'(y), by the activation y itself.
static inline Vector TimesSlope(Activation activation, Vector v, Vector y) {
  if (activation == Activation::kRelu) return y > 0.0f ? v : Zero();
  if (activation == Activation::kTanh) return v * (1.0f - y * y);
  return v;
}

static inline Vector Activate(Activation activation, Vector v) {
  if (activation == Activation::kRelu) return Max0(v);
  if (activation == Activation::kTanh) {
    for (int i = 0; i < kLanes; ++i) v[i] = std::tanh(v[i]);
  }
  return v;
}

#ifdef __clang__
#define RIGL_RL_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t Lanes __attribute__((vector_size(64)));
#define RIGL_RL_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Lanes{__VA_ARGS__})
#endif

// The sums of neighboring lanes of two vectors.
static inline Vector AddPairs(Vector a, Vector b) {
  return RIGL_RL_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24,
                         26, 28, 30) +
         RIGL_RL_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25,
                         27, 29, 31);
}

// Lane i becomes the sum of v[i]'s lanes. In one order, whatever is summed.
static inline Vector SumLanes(Vector* v) {
  for (int n = kLanes / 2; n >= 1; n /= 2) {
    for (int i = 0; i < n; ++i) v[i] = AddPairs(v[2 * i], v[2 * i + 1]);
  }
  return v[0];
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
    const Vector total = SumLanes(sums);
    for (int64_t u = 0; u < count; ++u) {
      dbias[j + u] = adds ? dbias[j + u] + total[u] : total[u];
    }
  }
}

// Adds to the gradients, or begins them.
template <int n>
static void WeightTile(const SparseStructure& s, const float* x,
                       const float* dy, float* dvalues, float* dbias,
                       int64_t stride, const Range& range, bool adds) {
  if (dbias != nullptr) BiasTile<n>(dy, dbias, stride, range, adds);
  for (int64_t j = range.first; j < range.last; ++j) {
    Vector delta[n];
    const float* row = dy + j * stride + range.begin;
    for (int v = 0; v < n; ++v) delta[v] = Load(row + v * kLanes);
    const int64_t end = s.output_begins[j + 1];
    for (int64_t k = s.output_begins[j]; k < end; k += kLanes) {
      // Sixteen weights at once, of which one each ends in a lane.
      const int64_t count = std::min(kLanes, end - k);
      Vector sums[kLanes];
      if (count == kLanes) {
#pragma GCC unroll 16
        for (int u = 0; u < kLanes; ++u) {
          const float* other = x + s.sources[k + u] * stride + range.begin;
          Vector sum = delta[0] * Load(other);
          for (int v = 1; v < n; ++v) {
            sum += delta[v] * Load(other + v * kLanes);
          }
          sums[u] = sum;
        }
        Vector total = SumLanes(sums);
        if (adds) total += Load(dvalues + k);
        Store(dvalues + k, total);
      } else {
        for (int u = 0; u < kLanes; ++u) sums[u] = Zero();
        for (int64_t u = 0; u < count; ++u) {
          const float* other = x + s.sources[k + u] * stride + range.begin;
          Vector sum = delta[0] * Load(other);
          for (int v = 1; v < n; ++v) {
            sum += delta[v] * Load(other + v * kLanes);
          }
          sums[u] = sum;
        }
        const Vector total = SumLanes(sums);
        for (int64_t u = 0; u < count; ++u) {
          dvalues[k + u] = adds ? dvalues[k + u] + total[u] : total[u];
        }
      }
    }
  }
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
  RIGL_RL_TILES(8, range, RIGL_RL_CALL)
#undef RIGL_RL_CALL
}

static void InputGradient(const SparseStructure& structure,
                          const float* values, Activation activation,
                          const float* x, const float* dy, float* dx,
                          int64_t stride, Range range) {
#define RIGL_RL_CALL(n) \
  InputTile<n>(structure, values, activation, x, dy, dx, stride, tile)
  RIGL_RL_TILES(8, range, RIGL_RL_CALL)
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
#define RIGL_RL_EXCHANGE(n, low, high)                   \
  for (int i = 0; i < kLanes; ++i) {                     \
    if (i & n) continue;                                 \
    const Vector a = v[i];                               \
    const Vector b = v[i + n];                           \
    v[i] = RIGL_RL_SHUFFLE(a, b, RIGL_RL_LIST low);      \
    v[i + n] = RIGL_RL_SHUFFLE(a, b, RIGL_RL_LIST high); \
  }
#define RIGL_RL_LIST(...) __VA_ARGS__
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
#undef RIGL_RL_LIST
#undef RIGL_RL_EXCHANGE
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

const SparseKernels& Kernels() {
  static const SparseKernels kernels = {
      RIGL_RL_NAME,       Forward,   InputGradient, WeightGradient,
      ActivationGradient, ToColumns, FromColumns};
  return kernels;
}

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl
