// Sixteen floats, in as many registers as the processor needs for them.
//
// Compilers accept vectors that are wider than a register, but then go through
// memory, number by number.

#ifndef RIGL_RL_KERNELS_VECTOR_H_
#define RIGL_RL_KERNELS_VECTOR_H_

#include <cstdint>

#include "sparse_layers.h"

namespace rigl_rl {
namespace RIGL_RL_ISA {

// Where it is not inlined, its vectors go through memory.
#define RIGL_RL_INLINED inline __attribute__((always_inline))

#ifdef __clang__
#define RIGL_RL_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define RIGL_RL_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Places{__VA_ARGS__})
#endif

#if defined(__AVX512F__)
constexpr int kRegisterSize = 64;
#elif defined(__AVX__)
constexpr int kRegisterSize = 32;
#else
constexpr int kRegisterSize = 16;
#endif
typedef float Register
    __attribute__((vector_size(kRegisterSize), aligned(4), may_alias));
typedef int32_t Places __attribute__((vector_size(kRegisterSize)));

// Two registers, or two pairs of them, with the same operations.
template <typename Half>
struct Pair {
  Half low;
  Half high;
};

#if defined(__AVX512F__)
typedef Register Vector;
#elif defined(__AVX__)
typedef Pair<Register> Vector;
#else
typedef Pair<Pair<Register>> Vector;
#endif
static_assert(sizeof(Vector) == kLanes * sizeof(float), "");

template <typename Half>
static RIGL_RL_INLINED Pair<Half> operator+(Pair<Half> a, Pair<Half> b) {
  return {a.low + b.low, a.high + b.high};
}
template <typename Half>
static RIGL_RL_INLINED Pair<Half> operator*(Pair<Half> a, Pair<Half> b) {
  return {a.low * b.low, a.high * b.high};
}
template <typename Half>
static RIGL_RL_INLINED Pair<Half> operator+(Pair<Half> a, float b) {
  return {a.low + b, a.high + b};
}
template <typename Half>
static RIGL_RL_INLINED Pair<Half> operator*(float a, Pair<Half> b) {
  return {a * b.low, a * b.high};
}
template <typename Half>
static RIGL_RL_INLINED Pair<Half> operator-(float a, Pair<Half> b) {
  return {a - b.low, a - b.high};
}
template <typename Half>
static RIGL_RL_INLINED Pair<Half>& operator+=(Pair<Half>& a, Pair<Half> b) {
  return a = a + b;
}

static RIGL_RL_INLINED void Read(const float* p, Register* v) {
  *v = *reinterpret_cast<const Register*>(p);
}
template <typename Half>
static RIGL_RL_INLINED void Read(const float* p, Pair<Half>* v) {
  Read(p, &v->low);
  Read(p + sizeof(Half) / sizeof(float), &v->high);
}
static RIGL_RL_INLINED void Write(Register v, float* p) {
  *reinterpret_cast<Register*>(p) = v;
}
template <typename Half>
static RIGL_RL_INLINED void Write(Pair<Half> v, float* p) {
  Write(v.low, p);
  Write(v.high, p + sizeof(Half) / sizeof(float));
}
static RIGL_RL_INLINED Vector Load(const float* p) {
  Vector v;
  Read(p, &v);
  return v;
}
static RIGL_RL_INLINED void Store(float* p, Vector v) { Write(v, p); }
static RIGL_RL_INLINED Vector Zero() { return Vector{}; }

// `v` where `condition` is above 0, else 0.
static RIGL_RL_INLINED Register WhereAbove0(Register condition, Register v) {
  return condition > 0.0f ? v : Register{};
}
template <typename Half>
static RIGL_RL_INLINED Pair<Half> WhereAbove0(Pair<Half> condition,
                                              Pair<Half> v) {
  return {WhereAbove0(condition.low, v.low),
          WhereAbove0(condition.high, v.high)};
}

// Lane i becomes the sum of v[i]'s lanes, always in the same order.
#if defined(__AVX512F__)
// Halves the number of vectors: v[i] and v[i + n] become one, whose lanes with
// the bit n are sums of lanes of the second. It exchanges lanes only once,
// because the processor has one port for that.
#define RIGL_RL_ADD(n, stay, move)                    \
  for (int i = 0; i < n; ++i) {                       \
    const Vector a = v[i];                            \
    const Vector b = v[i + n];                        \
    v[i] = RIGL_RL_SHUFFLE(a, b, RIGL_RL_LIST stay) + \
           RIGL_RL_SHUFFLE(a, b, RIGL_RL_LIST move);  \
  }
#define RIGL_RL_LIST(...) __VA_ARGS__
static RIGL_RL_INLINED Vector SumLanes(Vector* v) {
  RIGL_RL_ADD(8, (0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31),
              (8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23))
  RIGL_RL_ADD(4, (0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29, 30, 31),
              (4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 24, 25, 26, 27))
  RIGL_RL_ADD(2, (0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13, 30, 31),
              (2, 3, 16, 17, 6, 7, 20, 21, 10, 11, 24, 25, 14, 15, 28, 29))
  RIGL_RL_ADD(1, (0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29, 14, 31),
              (1, 16, 3, 18, 5, 20, 7, 22, 9, 24, 11, 26, 13, 28, 15, 30))
  return v[0];
}
#undef RIGL_RL_LIST
#undef RIGL_RL_ADD
#else
static RIGL_RL_INLINED Register AddRegisters(Register v) { return v; }
template <typename Half>
static RIGL_RL_INLINED Register AddRegisters(Pair<Half> v) {
  return AddRegisters(v.low + v.high);
}
// The sums of neighboring lanes of two registers.
static RIGL_RL_INLINED Register AddPairs(Register a, Register b) {
#if defined(__AVX__)
  return RIGL_RL_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14) +
         RIGL_RL_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
  return RIGL_RL_SHUFFLE(a, b, 0, 2, 4, 6) + RIGL_RL_SHUFFLE(a, b, 1, 3, 5, 7);
#endif
}
static RIGL_RL_INLINED Vector SumLanes(Vector* v) {
  constexpr int kRegisters = sizeof(Vector) / sizeof(Register);
  Register sums[kLanes];
  for (int i = 0; i < kLanes; ++i) sums[i] = AddRegisters(v[i]);
  for (int n = kLanes / 2; n >= kRegisters; n /= 2) {
    for (int i = 0; i < n; ++i) {
      sums[i] = AddPairs(sums[2 * i], sums[2 * i + 1]);
    }
  }
  return Load(reinterpret_cast<const float*>(sums));
}
#endif

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_VECTOR_H_
