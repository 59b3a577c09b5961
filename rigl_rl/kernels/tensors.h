#ifndef RIGL_RL_KERNELS_TENSORS_H_
#define RIGL_RL_KERNELS_TENSORS_H_

#include <cstdint>

#include "sparse_layers.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/status.h"

namespace rigl_rl {

// Checks the number of elements of a tensor.
inline tensorflow::Status CheckSize(const char* name,
                                    const tensorflow::Tensor& tensor,
                                    int64_t size) {
  if (tensor.NumElements() == size) return tensorflow::OkStatus();
  return tensorflow::errors::InvalidArgument(
      name, " must have ", size, " elements, but has the shape ",
      tensor.shape().DebugString(), ".");
}

// Finds the structure of a kernel (inputs, outputs), and checks it.
inline tensorflow::Status GetStructure(const tensorflow::Tensor& structure,
                                       int64_t inputs, int64_t outputs,
                                       int64_t capacity,
                                       SparseStructure* found) {
  TF_RETURN_IF_ERROR(
      CheckSize("structure", structure,
                SparseStructure::Size(inputs, outputs, capacity)));
  *found = SparseStructure::At(structure.flat<int32_t>().data(), inputs,
                               outputs, capacity);
  if (found->IsSound()) return tensorflow::OkStatus();
  return tensorflow::errors::InvalidArgument("structure is no structure of ",
                                             capacity, " values.");
}

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_TENSORS_H_
