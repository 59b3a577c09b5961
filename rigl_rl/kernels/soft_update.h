// The soft update of a target network's variable.

#ifndef RIGL_RL_KERNELS_SOFT_UPDATE_H_
#define RIGL_RL_KERNELS_SOFT_UPDATE_H_

#include <cstdint>

namespace rigl_rl {

// target -= (target - online) * tau, in place, rounded after each operation.
using SoftUpdateFunction = void(const float* online, float* target,
                                int64_t size, float tau);

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_SOFT_UPDATE_H_
