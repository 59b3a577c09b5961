// Operations that convert between a layer's active weights and its kernel,
// (inputs, outputs), as TensorFlow sees them.

#include "sparse_layers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensors.h"

namespace rigl_rl {
namespace {

namespace tf = ::tensorflow;
using tf::OpKernelConstruction;
using tf::OpKernelContext;
using tf::Tensor;
using tf::TensorShape;
using tf::shape_inference::InferenceContext;

class SparseStructureOp : public tf::OpKernel {
 public:
  explicit SparseStructureOp(OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("capacity", &capacity_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& mask = context->input(0);
    OP_REQUIRES(context, mask.dims() == 2,
                tf::errors::InvalidArgument("mask must be (inputs, outputs)."));
    const int64_t active =
        CountActive(mask.flat<float>().data(), mask.NumElements());
    OP_REQUIRES(context, active <= capacity_,
                tf::errors::InvalidArgument("mask has ", active,
                                            " active weights, but there is ",
                                            "room for ", capacity_, "."));
    Tensor* structure;
    OP_REQUIRES_OK(
        context,
        context->allocate_output(
            0,
            TensorShape({SparseStructure::Size(
                mask.dim_size(0), mask.dim_size(1), capacity_)}),
            &structure));
    WriteStructure(mask.flat<float>().data(), mask.dim_size(0),
                   mask.dim_size(1), capacity_,
                   structure->flat<int32_t>().data());
  }

 private:
  int64_t capacity_;
};

class SparseGatherOp : public tf::OpKernel {
 public:
  explicit SparseGatherOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("capacity", &capacity_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& kernel = context->input(0);
    OP_REQUIRES(
        context, kernel.dims() == 2,
        tf::errors::InvalidArgument("kernel must be (inputs, outputs)."));
    SparseStructure structure;
    OP_REQUIRES_OK(context,
                   GetStructure(context->input(1), kernel.dim_size(0),
                                kernel.dim_size(1), capacity_, &structure));
    Tensor* values;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, TensorShape({capacity_}), &values));
    GatherValues(structure, kernel.flat<float>().data(),
                 values->flat<float>().data());
  }

 private:
  int64_t capacity_;
};

class SparseScatterOp : public tf::OpKernel {
 public:
  explicit SparseScatterOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("inputs", &inputs_));
    OP_REQUIRES_OK(context, context->GetAttr("outputs", &outputs_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& values = context->input(0);
    SparseStructure structure;
    OP_REQUIRES_OK(context,
                   GetStructure(context->input(1), inputs_, outputs_,
                                values.NumElements(), &structure));
    Tensor* kernel;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, TensorShape({inputs_, outputs_}), &kernel));
    ScatterValues(structure, values.flat<float>().data(),
                  kernel->flat<float>().data());
  }

 private:
  int64_t inputs_;
  int64_t outputs_;
};

REGISTER_OP("RiglSparseStructure")
    .Attr("capacity: int >= 0")
    .Input("mask: float")
    .Output("structure: int32")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->Vector(c->UnknownDim()));
      return tf::OkStatus();
    })
    .Doc(R"(
Finds where the active weights of a mask lie.

capacity: values to leave room for, at least the active ones.
mask: (inputs, outputs), not zero where a weight is active.
)");

REGISTER_OP("RiglSparseGather")
    .Attr("capacity: int >= 0")
    .Input("kernel: float")
    .Input("structure: int32")
    .Output("values: float")
    .SetShapeFn([](InferenceContext* c) {
      int64_t capacity;
      TF_RETURN_IF_ERROR(c->GetAttr("capacity", &capacity));
      c->set_output(0, c->Vector(capacity));
      return tf::OkStatus();
    })
    .Doc("Reads the active weights of a kernel (inputs, outputs).");

REGISTER_OP("RiglSparseScatter")
    .Attr("inputs: int >= 1")
    .Attr("outputs: int >= 1")
    .Input("values: float")
    .Input("structure: int32")
    .Output("kernel: float")
    .SetShapeFn([](InferenceContext* c) {
      int64_t inputs, outputs;
      TF_RETURN_IF_ERROR(c->GetAttr("inputs", &inputs));
      TF_RETURN_IF_ERROR(c->GetAttr("outputs", &outputs));
      c->set_output(0, c->Matrix(inputs, outputs));
      return tf::OkStatus();
    })
    .Doc("Makes a kernel (inputs, outputs) of its active weights.");

#define RIGL_RL_REGISTER(name)                                        \
  REGISTER_KERNEL_BUILDER(Name("Rigl" #name).Device(tf::DEVICE_CPU), \
                          name##Op)
RIGL_RL_REGISTER(SparseStructure);
RIGL_RL_REGISTER(SparseGather);
RIGL_RL_REGISTER(SparseScatter);
#undef RIGL_RL_REGISTER

}  // namespace
}  // namespace rigl_rl
