#include "adam.h"

#include <cmath>

namespace rigl_rl {
namespace RIGL_RL_ISA {
namespace {

// One loop per case, so that no loop branches.
template <bool decays, Masked masked>
void TakeStep(const AdamStep& step, float weight_decay,
              const float* __restrict__ gradient,
              const float* __restrict__ mask, float* __restrict__ variable,
              float* __restrict__ m, float* __restrict__ v, int64_t size) {
  const float alpha = step.alpha;
  const float epsilon = step.epsilon;
  const float rate1 = 1.0f - step.beta1;
  const float rate2 = 1.0f - step.beta2;
  for (int64_t i = 0; i < size; ++i) {
    float g = gradient[i];
    if (masked == Masked::kGradient) g *= mask[i];
    if (decays) g += weight_decay * variable[i];
    const float new_m = m[i] + (g - m[i]) * rate1;
    const float new_v = v[i] + (g * g - v[i]) * rate2;
    float value = variable[i] - new_m * alpha / (std::sqrt(new_v) + epsilon);
    if (masked == Masked::kVariable) value *= mask[i];
    m[i] = new_m;
    v[i] = new_v;
    variable[i] = value;
  }
}

template <bool decays>
void TakeStep(const AdamStep& step, float weight_decay, Masked masked,
              const float* gradient, const float* mask, float* variable,
              float* m, float* v, int64_t size) {
  switch (masked) {
    case Masked::kNothing:
      return TakeStep<decays, Masked::kNothing>(step, weight_decay, gradient,
                                                mask, variable, m, v, size);
    case Masked::kGradient:
      return TakeStep<decays, Masked::kGradient>(step, weight_decay, gradient,
                                                 mask, variable, m, v, size);
    case Masked::kVariable:
      return TakeStep<decays, Masked::kVariable>(step, weight_decay, gradient,
                                                 mask, variable, m, v, size);
  }
}

}  // namespace

void TakeAdamStep(const AdamStep& step, float weight_decay, Masked masked,
                  const float* gradient, const float* mask, float* variable,
                  float* m, float* v, int64_t size) {
  const auto take = weight_decay != 0 ? &TakeStep<true> : &TakeStep<false>;
  take(step, weight_decay, masked, gradient, mask, variable, m, v, size);
}

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl
