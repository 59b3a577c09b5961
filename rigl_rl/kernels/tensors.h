#ifndef RIGL_RL_KERNELS_TENSORS_H_
#define RIGL_RL_KERNELS_TENSORS_H_

#include <cstdint>

#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/status.h"

namespace rigl_rl {

// Checks that a tensor has as many elements.
inline tensorflow::Status CheckSize(const char* name,
                                    const tensorflow::Tensor& tensor,
                                    int64_t size) {
  if (tensor.NumElements() == size) return tensorflow::OkStatus();
  return tensorflow::errors::InvalidArgument(
      name, " must have ", size, " elements, but has the shape ",
      tensor.shape().DebugString(), ".");
}

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_TENSORS_H_
