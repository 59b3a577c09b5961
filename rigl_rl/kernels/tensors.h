#ifndef RIGL_RL_KERNELS_TENSORS_H_
#define RIGL_RL_KERNELS_TENSORS_H_

#include <cstdint>

#include "sparse_layers.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace rigl_rl {

namespace tf = ::tensorflow;
using tf::OpKernelConstruction;
using tf::OpKernelContext;
using tf::Tensor;
using tf::TensorShape;
using tf::shape_inference::InferenceContext;

// Checks the number of elements of a tensor.
inline tf::Status CheckSize(const char* name, const Tensor& tensor,
                            int64_t size) {
  if (tensor.NumElements() == size) return tf::OkStatus();
  return tf::errors::InvalidArgument(
      name, " must have ", size, " elements, but has the shape ",
      tensor.shape().DebugString(), ".");
}

// Finds the structure of a kernel (inputs, outputs), and checks it.
inline tf::Status GetStructure(const Tensor& structure, int64_t inputs,
                               int64_t outputs, int64_t capacity,
                               SparseStructure* found) {
  TF_RETURN_IF_ERROR(
      CheckSize("structure", structure,
                SparseStructure::Size(inputs, outputs, capacity)));
  *found = SparseStructure::At(structure.flat<int32_t>().data(), inputs,
                               outputs, capacity);
  if (found->IsSound()) return tf::OkStatus();
  return tf::errors::InvalidArgument("structure is no structure of ", capacity,
                                     " values.");
}

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_TENSORS_H_
