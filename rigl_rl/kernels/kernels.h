// The kernels for each kind of processor, of which one is chosen at run time.
//
// Files that end in _simd.cc are compiled once for each kind, with RIGL_RL_ISA
// set to its name, which is their namespace. So a compiled library works on
// every processor of an architecture.

#ifndef RIGL_RL_KERNELS_KERNELS_H_
#define RIGL_RL_KERNELS_KERNELS_H_

#include <cstdint>
#include <vector>

#include "adam.h"
#include "maintain_sparsity.h"
#include "noise.h"
#include "soft_update.h"
#include "sparse_convolution.h"
#include "sparse_layers.h"

namespace rigl_rl {

using TransposeFunction = void(const float* from, int64_t examples,
                               int64_t features, int64_t stride, float* to);

// The arithmetic, for one kind of processor.
struct Kernels {
  const char* name;
  // Updates of variables, rounded as TensorFlow rounds: see the types.
  AdamFunction* take_adam_step;
  SoftUpdateFunction* soft_update;
  MaintainSparsityFunction* maintain_sparsity;

  DrawNormalFunction* draw_normal;

  // Sparse layers. Activations are held as features x examples: row i of `x` is
  // x + i * stride.

  // y = activation(W^T x + bias), rows being outputs. `bias` may be null.
  void (*forward)(const SparseStructure& structure, const float* values,
                  const float* bias, Activation activation, const float* x,
                  float* y, int64_t stride, Range range);
  // dx = (W dy) * activation'(x), rows being inputs; `x` is the activation of
  // the layer before, or null where there is none. `values` are sorted by
  // input, see SortByInput.
  void (*input_gradient)(const SparseStructure& structure, const float* values,
                         Activation activation, const float* x,
                         const float* dy, float* dx, int64_t stride,
                         Range range);
  // Gradients of values and bias, summed over the range's examples; rows are
  // outputs. Adds to what is there, or writes. `dbias` may be null.
  void (*weight_gradient)(const SparseStructure& structure, const float* x,
                          const float* dy, float* dvalues, float* dbias,
                          int64_t stride, Range range, bool adds);
  // dy *= activation'(y), on rows of `y`.
  void (*activation_gradient)(Activation activation, const float* y, float* dy,
                              int64_t stride, Range range);
  // From (examples, features) to features x examples, and back. Padding columns,
  // up to a multiple of kLanes, are zeroed.
  TransposeFunction* to_columns;
  TransposeFunction* from_columns;

  // Convolutions by active weights: see the types.
  CorrelateFunction* correlate;
  CorrelateGradientFunction* correlate_gradient;
  SumLanesFunction* sum_lanes;
  SpreadFunction* spread;
  CollectFunction* collect;
};

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
#endif
namespace portable {
extern const Kernels kKernels;
}

// Those that this processor can run, the fastest last.
std::vector<const Kernels*> AllKernels();

// The fastest for this processor; RIGL_RL_SIMD=avx2 or portable in the
// environment asks for another one, for tests.
const Kernels& BestKernels();

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_KERNELS_H_
