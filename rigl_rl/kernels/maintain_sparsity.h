// MaintainSparsity of Sokar et al. (2022), algorithm 3, for one layer.

#ifndef RIGL_RL_KERNELS_MAINTAIN_SPARSITY_H_
#define RIGL_RL_KERNELS_MAINTAIN_SPARSITY_H_

#include <cstdint>

namespace rigl_rl {

// Keeps the k weights of the largest magnitude, in place; k is how many of the
// online layer's weights are not zero. Among equal magnitudes the lower index
// is kept.
//
//   online, target, mask: `size` values each. `mask` becomes 1 where a weight
//     is kept and 0 elsewhere, with k ones, on zeros too where fewer than k
//     weights are not zero; `target` is multiplied by it.
//   scratch: room for `size` + kScratchMargin values.
using MaintainSparsityFunction = void(const float* online, float* target,
                                      float* mask, int64_t size,
                                      int32_t* scratch);

inline constexpr int64_t kScratchMargin = 16;

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_MAINTAIN_SPARSITY_H_
