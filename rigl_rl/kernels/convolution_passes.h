// The passes of a convolution by active weights, on a block of at most kLanes
// examples.

#ifndef RIGL_RL_KERNELS_CONVOLUTION_PASSES_H_
#define RIGL_RL_KERNELS_CONVOLUTION_PASSES_H_

#include "kernels.h"

namespace rigl_rl {

// y = activation(convolution(x) + bias), both (examples, height, width,
// features). Writes the padded image too. `strip` has room for a row of y, for
// kLanes examples; `bias` may be null.
void Convolve(const Kernels& kernels, const Convolution& convolution,
              const Taps& taps, const float* bias, Activation activation,
              const float* x, int64_t examples, float* image, float* strip,
              float* y);
// Writes Convolution::delta: the gradient before the activation.
void WriteDelta(const Kernels& kernels, const Convolution& convolution,
                Activation activation, const float* dy, const float* y,
                int64_t examples, float* delta);
// The gradient of x, by InputTaps. `strip` has room for a row of it.
void PassBack(const Kernels& kernels, const Convolution& convolution,
              const TapVectors& taps, const float* delta, int64_t examples,
              float* strip, float* dx);
// Adds the gradients of weights and biases, by ForwardTaps; see
// CorrelateGradientFunction.
void AddGradients(const Kernels& kernels, const Convolution& convolution,
                  const Taps& taps, const float* image, const float* delta,
                  float* sums, float* bias_sums);

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_CONVOLUTION_PASSES_H_
