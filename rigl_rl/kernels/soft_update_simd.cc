#include "soft_update.h"

namespace rigl_rl {
namespace RIGL_RL_ISA {

void SoftUpdate(const float* __restrict__ online, float* __restrict__ target,
                int64_t size, float tau) {
  for (int64_t i = 0; i < size; ++i) {
    const float step = (target[i] - online[i]) * tau;
    target[i] -= step;
  }
}

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl
