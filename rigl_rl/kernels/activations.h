// Activations, and their slopes.

#ifndef RIGL_RL_KERNELS_ACTIVATIONS_H_
#define RIGL_RL_KERNELS_ACTIVATIONS_H_

#include <cmath>

#include "vector.h"

namespace rigl_rl {
namespace RIGL_RL_ISA {

// v * activation'(...), computed from the activation y.
static RIGL_RL_INLINED Vector TimesSlope(Activation activation, Vector v,
                                         Vector y) {
  if (activation == Activation::kRelu) return WhereAbove0(y, v);
  if (activation == Activation::kTanh) return v * (1.0f - y * y);
  return v;
}

static RIGL_RL_INLINED Vector Activate(Activation activation, Vector v) {
  if (activation == Activation::kRelu) return WhereAbove0(v, v);
  if (activation == Activation::kTanh) {
    float lanes[kLanes];
    Store(lanes, v);
    for (float& lane : lanes) lane = std::tanh(lane);
    return Load(lanes);
  }
  return v;
}

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_ACTIVATIONS_H_
