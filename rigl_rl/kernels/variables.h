// Resource variables as the operations use them: checked, locked, in place.

#ifndef RIGL_RL_KERNELS_VARIABLES_H_
#define RIGL_RL_KERNELS_VARIABLES_H_

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace rigl_rl {

// Returns the name that a type has in Python.
inline std::string TypeName(tensorflow::DataType dtype) {
  if (dtype == tensorflow::DT_FLOAT) return "float32";
  return tensorflow::DataTypeString(dtype);
}

// Checks that an input is the handle of a variable of a type, if that is known,
// and merges its shape with another.
inline tensorflow::Status CheckHandle(
    tensorflow::shape_inference::InferenceContext* c, int input,
    tensorflow::DataType dtype,
    tensorflow::shape_inference::ShapeHandle* shape) {
  const auto* known = c->input_handle_shapes_and_types(input);
  if (known == nullptr || known->empty()) return tensorflow::OkStatus();
  if ((*known)[0].dtype != dtype) {
    return tensorflow::errors::InvalidArgument(
        "Variables must be ", TypeName(dtype), ", not ",
        TypeName((*known)[0].dtype), " as that of input ", input, " is.");
  }
  return c->Merge(*shape, (*known)[0].shape, shape);
}

// Checks that handle i of each of the lists, each N handles long and one after
// the other from the first input, is of a float32 variable of one shape.
inline tensorflow::Status CheckHandles(
    tensorflow::shape_inference::InferenceContext* c, int lists) {
  int layers;
  TF_RETURN_IF_ERROR(c->GetAttr("N", &layers));
  for (int layer = 0; layer < layers; ++layer) {
    tensorflow::shape_inference::ShapeHandle shape = c->UnknownShape();
    for (int list = 0; list < lists; ++list) {
      TF_RETURN_IF_ERROR(CheckHandle(c, list * layers + layer,
                                     tensorflow::DT_FLOAT, &shape));
    }
  }
  return tensorflow::OkStatus();
}

// Variables that are locked while this object lives.
class LockedVariables {
 public:
  // `read` and `written` are the indices of their handles. Variables that are
  // written get buffers that nothing else holds.
  tensorflow::Status Lock(tensorflow::OpKernelContext* context,
                          const std::vector<int>& read,
                          const std::vector<int>& written) {
    std::vector<tensorflow::mutex*> readers, writers;
    variables_.reserve(read.size() + written.size());
    TF_RETURN_IF_ERROR(Find(context, read, &readers));
    TF_RETURN_IF_ERROR(Find(context, written, &writers));
    // Always in one order, so that no two operations wait for each other.
    std::sort(writers.begin(), writers.end());
    bool differ =
        std::adjacent_find(writers.begin(), writers.end()) == writers.end();
    for (tensorflow::mutex* mutex : readers) {
      differ &= !std::binary_search(writers.begin(), writers.end(), mutex);
    }
    if (!differ) {
      return tensorflow::errors::InvalidArgument(
          "Variables that are written must differ from all others.");
    }
    std::vector<tensorflow::mutex*> mutexes = std::move(writers);
    mutexes.insert(mutexes.end(), readers.begin(), readers.end());
    std::sort(mutexes.begin(), mutexes.end());
    mutexes.erase(std::unique(mutexes.begin(), mutexes.end()), mutexes.end());
    locks_.reserve(mutexes.size());
    for (tensorflow::mutex* mutex : mutexes) {
      locks_.push_back(std::make_unique<tensorflow::mutex_lock>(*mutex));
    }
    for (const auto& variable : variables_) {
      if (!variable->tensor()->IsInitialized()) {
        return tensorflow::errors::FailedPrecondition(
            "A variable is not initialized.");
      }
    }
    for (size_t i = read.size(); i < variables_.size(); ++i) {
      TF_RETURN_IF_ERROR(MakeWritable(context, variables_[i].get()));
    }
    return tensorflow::OkStatus();
  }

  // Locks the variables of one layer: float32, of one shape.
  tensorflow::Status LockLayer(tensorflow::OpKernelContext* context,
                               const std::vector<int>& read,
                               const std::vector<int>& written) {
    TF_RETURN_IF_ERROR(Lock(context, read, written));
    for (size_t i = 0; i < variables_.size(); ++i) {
      TF_RETURN_IF_ERROR(CheckType(i, tensorflow::DT_FLOAT));
      TF_RETURN_IF_ERROR(CheckShape(i, tensor(0).shape()));
    }
    return tensorflow::OkStatus();
  }

  // Variables are counted as they were given, the ones that are read first.
  tensorflow::Status CheckType(int i, tensorflow::DataType dtype) {
    if (tensor(i).dtype() == dtype) return tensorflow::OkStatus();
    return tensorflow::errors::InvalidArgument(
        "Variables must be ", TypeName(dtype), ", not ",
        TypeName(tensor(i).dtype()), ".");
  }

  tensorflow::Status CheckShape(int i, const tensorflow::TensorShape& shape) {
    if (tensor(i).shape().IsSameSize(shape)) return tensorflow::OkStatus();
    return tensorflow::errors::InvalidArgument(
        "What belongs to one layer must have one shape, not ",
        shape.DebugString(), " and ", tensor(i).shape().DebugString(), ".");
  }

  const tensorflow::Tensor& tensor(int i) { return *variables_[i]->tensor(); }

  float* data(int i) {
    return variables_[i]->tensor()->flat<float>().data();
  }

  int64_t size() { return tensor(0).NumElements(); }

 private:
  tensorflow::Status Find(tensorflow::OpKernelContext* context,
                          const std::vector<int>& inputs,
                          std::vector<tensorflow::mutex*>* mutexes) {
    for (int input : inputs) {
      tensorflow::core::RefCountPtr<tensorflow::Var> variable;
      TF_RETURN_IF_ERROR(tensorflow::LookupResource(
          context, tensorflow::HandleFromInput(context, input), &variable));
      mutexes->push_back(variable->mu());
      variables_.push_back(std::move(variable));
    }
    return tensorflow::OkStatus();
  }

  // Gives the variable a buffer of its own if a reader still holds its buffer:
  // values that were read must not change.
  static tensorflow::Status MakeWritable(tensorflow::OpKernelContext* context,
                                         tensorflow::Var* variable) {
    tensorflow::Tensor* tensor = variable->tensor();
    if (tensor->RefCountIsOne() && !variable->copy_on_read_mode.load()) {
      return tensorflow::OkStatus();
    }
    if (!tensorflow::DataTypeCanUseMemcpy(tensor->dtype())) {
      return tensorflow::errors::InvalidArgument(
          "Variables cannot be ", TypeName(tensor->dtype()), ".");
    }
    tensorflow::Tensor copy;
    tensorflow::AllocatorAttributes attributes;
    attributes.set_nic_compatible(true);
    TF_RETURN_IF_ERROR(context->allocate_temp(tensor->dtype(), tensor->shape(),
                                              &copy, attributes));
    std::memcpy(copy.data(), tensor->data(), tensor->TotalBytes());
    *tensor = copy;
    return tensorflow::OkStatus();
  }

  std::vector<tensorflow::core::RefCountPtr<tensorflow::Var>> variables_;
  // Released before the variables are.
  std::vector<std::unique_ptr<tensorflow::mutex_lock>> locks_;
};

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_VARIABLES_H_
