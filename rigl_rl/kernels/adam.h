// A step of Adam (Kingma & Ba, 2015) on some values of a variable.

#ifndef RIGL_RL_KERNELS_ADAM_H_
#define RIGL_RL_KERNELS_ADAM_H_

#include <cmath>
#include <cstdint>

namespace rigl_rl {

// What all values of a step share.
struct AdamStep {
  float alpha;  // The learning rate, corrected for the bias of the moments.
  float beta1;
  float beta2;
  float epsilon;
};

// Returns the step after `iterations` others.
inline AdamStep MakeAdamStep(float learning_rate, float beta1, float beta2,
                             float epsilon, int64_t iterations) {
  const float count = static_cast<float>(iterations + 1);
  const float bias1 = 1.0f - std::pow(beta1, count);
  const float bias2 = 1.0f - std::pow(beta2, count);
  return {learning_rate * std::sqrt(bias2) / bias1, beta1, beta2, epsilon};
}

// What a mask multiplies.
enum class Masked { kNothing, kGradient, kVariable };

// Takes the step in one pass, in place, rounded after each operation:
//
//   g = gradient (* mask) + weight_decay * variable
//   m += (g - m) * (1 - beta1)
//   v += (g * g - v) * (1 - beta2)
//   variable -= m * alpha / (sqrt(v) + epsilon)
//   (variable *= mask)
//
//   weight_decay: 0 leaves that term out.
//   gradient, mask, variable, m, v: `size` values each, which do not overlap;
//     `mask` is not read if nothing is masked.
using AdamFunction = void(const AdamStep& step, float weight_decay,
                          Masked masked, const float* gradient,
                          const float* mask, float* variable, float* m,
                          float* v, int64_t size);

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_ADAM_H_
