// The operations as TensorFlow sees them: checks, locks, and the variables'
// buffers. They work on resource variables in place.

#include <algorithm>
#include <memory>
#include <vector>

#include "maintain_sparsity.h"
#include "soft_update.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace rigl_rl {
namespace {

namespace tf = ::tensorflow;
using tf::OpKernelContext;
using tf::shape_inference::InferenceContext;
using tf::shape_inference::ShapeHandle;

// Checks that handle i of each of the lists, each N handles long and one after
// the other from the first input, is of a float32 variable of one shape.
tf::Status CheckHandles(InferenceContext* c, int lists) {
  int layers;
  TF_RETURN_IF_ERROR(c->GetAttr("N", &layers));
  for (int layer = 0; layer < layers; ++layer) {
    ShapeHandle shape = c->UnknownShape();
    for (int list = 0; list < lists; ++list) {
      const auto* known =
          c->input_handle_shapes_and_types(list * layers + layer);
      if (known == nullptr || known->empty()) continue;
      if ((*known)[0].dtype != tf::DT_FLOAT) {
        return tf::errors::InvalidArgument("Variable ", layer,
                                           " of a list is not float32.");
      }
      TF_RETURN_IF_ERROR(c->Merge(shape, (*known)[0].shape, &shape));
    }
  }
  return tf::OkStatus();
}

// Variables of one layer, of one shape, locked while this object lives.
class LockedVariables {
 public:
  // `inputs` are the indices of their handles; only the first is not written.
  tf::Status Lock(OpKernelContext* context, const std::vector<int>& inputs) {
    std::vector<tf::mutex*> mutexes;
    for (int input : inputs) {
      tf::core::RefCountPtr<tf::Var> variable;
      TF_RETURN_IF_ERROR(tf::LookupResource(
          context, tf::HandleFromInput(context, input), &variable));
      mutexes.push_back(variable->mu());
      variables_.push_back(std::move(variable));
    }
    // In one order, so that no two operations wait for one another.
    std::sort(mutexes.begin(), mutexes.end());
    if (std::unique(mutexes.begin(), mutexes.end()) != mutexes.end()) {
      return tf::errors::InvalidArgument(
          "The variables of a layer must differ from one another.");
    }
    for (tf::mutex* mutex : mutexes) {
      locks_.push_back(std::make_unique<tf::mutex_lock>(*mutex));
    }
    const tf::Tensor& first = *variables_[0]->tensor();
    for (size_t i = 0; i < variables_.size(); ++i) {
      const tf::Tensor& tensor = *variables_[i]->tensor();
      if (!tensor.IsInitialized()) {
        return tf::errors::FailedPrecondition(
            "A variable is not initialized.");
      }
      if (tensor.dtype() != tf::DT_FLOAT) {
        return tf::errors::InvalidArgument(
            "Variables must be float32, not ",
            tf::DataTypeString(tensor.dtype()), ".");
      }
      if (!tensor.shape().IsSameSize(first.shape())) {
        return tf::errors::InvalidArgument(
            "The variables of a layer must have one shape, not ",
            first.shape().DebugString(), " and ",
            tensor.shape().DebugString(), ".");
      }
    }
    for (size_t i = 1; i < variables_.size(); ++i) {
      TF_RETURN_IF_ERROR(MakeWritable(context, variables_[i].get()));
    }
    return tf::OkStatus();
  }

  float* data(int i) {
    return variables_[i]->tensor()->flat<float>().data();
  }

  int64_t size() const { return variables_[0]->tensor()->NumElements(); }

 private:
  // Gives the variable a buffer of its own, if what has read it still holds
  // its buffer: what was read must not change.
  static tf::Status MakeWritable(OpKernelContext* context, tf::Var* variable) {
    tf::Tensor* tensor = variable->tensor();
    if (tensor->RefCountIsOne() && !variable->copy_on_read_mode.load()) {
      return tf::OkStatus();
    }
    tf::Tensor copy;
    tf::AllocatorAttributes attributes;
    attributes.set_nic_compatible(true);
    TF_RETURN_IF_ERROR(context->allocate_temp(tensor->dtype(), tensor->shape(),
                                              &copy, attributes));
    std::copy_n(tensor->flat<float>().data(), tensor->NumElements(),
                copy.flat<float>().data());
    *tensor = copy;
    return tf::OkStatus();
  }

  std::vector<tf::core::RefCountPtr<tf::Var>> variables_;
  // Released before the variables are.
  std::vector<std::unique_ptr<tf::mutex_lock>> locks_;
};

class MaintainSparsityOp : public tf::OpKernel {
 public:
  explicit MaintainSparsityOp(tf::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("N", &layers_));
  }

  void Compute(OpKernelContext* context) override {
    std::unique_ptr<int32_t[]> scratch;
    int64_t room = -1;
    for (int layer = 0; layer < layers_; ++layer) {
      LockedVariables variables;
      OP_REQUIRES_OK(
          context, variables.Lock(context, {layer, layers_ + layer,
                                            2 * layers_ + layer}));
      const int64_t size = variables.size();
      if (size > room) {
        scratch.reset(new int32_t[size + kScratchMargin]);
        room = size;
      }
      MaintainSparsity(variables.data(0), variables.data(1), variables.data(2),
                       size, scratch.get());
    }
  }

 private:
  int layers_;
};

class SoftUpdateOp : public tf::OpKernel {
 public:
  explicit SoftUpdateOp(tf::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("N", &count_));
  }

  void Compute(OpKernelContext* context) override {
    const tf::Tensor& tau = context->input(2 * count_);
    OP_REQUIRES(context, tf::TensorShapeUtils::IsScalar(tau.shape()),
                tf::errors::InvalidArgument("tau must be a scalar, not ",
                                            tau.shape().DebugString(), "."));
    for (int i = 0; i < count_; ++i) {
      LockedVariables variables;
      OP_REQUIRES_OK(context, variables.Lock(context, {i, count_ + i}));
      SoftUpdate(variables.data(0), variables.data(1), variables.size(),
                 tau.scalar<float>()());
    }
  }

 private:
  int count_;
};

REGISTER_OP("RiglMaintainSparsity")
    .Attr("N: int >= 1")
    .Input("online: N * resource")
    .Input("target: N * resource")
    .Input("mask: N * resource")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return CheckHandles(c, 3); })
    .Doc(R"(
Keeps as many weights as the online kernels have, those of largest magnitude.

online: kernels; how many of their weights are not zero is what is read.
target: kernels of the same shapes, of which the other weights become zero.
mask: their masks, which become 1 where a weight is kept and 0 elsewhere.
)");

REGISTER_OP("RiglSoftUpdate")
    .Attr("N: int >= 1")
    .Input("online: N * resource")
    .Input("target: N * resource")
    .Input("tau: float")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle scalar;
      TF_RETURN_IF_ERROR(
          c->WithRank(c->input(c->num_inputs() - 1), 0, &scalar));
      return CheckHandles(c, 2);
    })
    .Doc(R"(
Moves each target variable by tau of its distance to the online variable.

online: variables.
target: variables of the same shapes, moved to target - (target - online) tau.
tau: scalar in [0, 1].
)");

REGISTER_KERNEL_BUILDER(
    Name("RiglMaintainSparsity").Device(tf::DEVICE_CPU), MaintainSparsityOp);
REGISTER_KERNEL_BUILDER(Name("RiglSoftUpdate").Device(tf::DEVICE_CPU),
                        SoftUpdateOp);

}  // namespace
}  // namespace rigl_rl
