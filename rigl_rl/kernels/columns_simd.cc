// Transposes examples to the columns that sparse layers read, and back.

#include <algorithm>
#include <cstdint>

#include "activations.h"
#include "kernels.h"
#include "vector.h"

namespace rigl_rl {
namespace RIGL_RL_ISA {

TransposeFunction ToColumns;
TransposeFunction FromColumns;
SpreadFunction Spread;
CollectFunction Collect;

#if defined(__AVX512F__)
// Transposes a square: as many vectors as each has lanes. Exchanges halves,
// then quarters, and so on.
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

// Transposes the squares of lanes in `rows` rows and `columns` columns of x;
// returns the first column that is in no square. The rest is left.
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
// With fewer lanes, shuffling takes longer than moving each value.
static int64_t TransposeSquares(const float*, int64_t, int64_t, int64_t, float*,
                                int64_t) {
  return 0;
}
#endif

void ToColumns(const float* x, int64_t examples, int64_t features,
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

// To examples with `pitch` from one to the next.
static void Gather(const float* columns, int64_t examples, int64_t features,
                   int64_t stride, float* y, int64_t pitch) {
  int64_t i = 0;
  for (; i + kLanes <= features; i += kLanes) {
    const float* from = columns + i * stride;
    int64_t b = TransposeSquares(from, stride, kLanes, examples, y + i, pitch);
    for (; b < examples; ++b) {
      for (int64_t u = 0; u < kLanes; ++u) {
        y[b * pitch + i + u] = from[u * stride + b];
      }
    }
  }
  for (int64_t b = 0; b < examples; ++b) {
    for (int64_t u = i; u < features; ++u) {
      y[b * pitch + u] = columns[u * stride + b];
    }
  }
}

void FromColumns(const float* columns, int64_t examples, int64_t features,
                 int64_t stride, float* y) {
  Gather(columns, examples, features, stride, y, features);
}

void Collect(const float* vectors, int64_t examples, int64_t features,
             float* y, int64_t pitch) {
  Gather(vectors, examples, features, kLanes, y, pitch);
}

void Spread(Activation activation, const float* x, const float* y,
            int64_t pitch, int64_t examples, int64_t features,
            const int32_t* places, float* vectors) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + kLanes <= features; i += kLanes) {
    Vector v[kLanes];
    for (int u = 0; u < kLanes; ++u) {
      v[u] = Zero();
      if (u >= examples) continue;
      const int64_t at = u * pitch + i;
      v[u] = TimesSlope(activation, Load(x + at), Load(y + at));
    }
    Transpose(v);
    for (int u = 0; u < kLanes; ++u) Store(vectors + places[i + u], v[u]);
  }
#endif
  for (; i < features; ++i) {
    float column[kLanes] = {};
    float slopes[kLanes] = {};
    for (int64_t u = 0; u < examples; ++u) {
      column[u] = x[u * pitch + i];
      slopes[u] = y[u * pitch + i];
    }
    Store(vectors + places[i],
          TimesSlope(activation, Load(column), Load(slopes)));
  }
}

#undef RIGL_RL_SHUFFLE
#undef RIGL_RL_INLINED

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl
