// Noise: TensorFlow's StatelessRandomNormalV2, which takes a number at a time.

#ifndef RIGL_RL_KERNELS_NOISE_H_
#define RIGL_RL_KERNELS_NOISE_H_

#include <cstdint>

namespace rigl_rl {

// Draws numbers from N(0, 1), the first of a seed's stream. They are those of
// TensorFlow with glibc. Its polynomials, in float64, have the coefficients of
// Arm's Optimized Routines (MIT licence); of all 2^23 logarithms, sines and
// cosines none differs from glibc 2.36's by a bit.
using DrawNormalFunction = void(int32_t seed0, int32_t seed1, int64_t size,
                                float* values);

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_NOISE_H_
