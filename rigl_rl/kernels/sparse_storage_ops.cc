// Operations that convert between a layer's active weights and its kernel,
// (..., inputs, outputs), as TensorFlow sees them. To them, all dimensions but
// the last are inputs. And which kernels there are.

#include <algorithm>
#include <vector>

#include "kernels.h"
#include "sparse_layers.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensors.h"

namespace rigl_rl {
namespace {

// Reads an input of the shape (..., inputs, outputs).
tf::Status GetMatrix(OpKernelContext* context, int index, const char* name,
                     const float** data, int64_t* inputs, int64_t* outputs) {
  const Tensor& tensor = context->input(index);
  if (tensor.dims() < 2) {
    return tf::errors::InvalidArgument(name,
                                       " must be (..., inputs, outputs).");
  }
  *data = tensor.flat<float>().data();
  *inputs = 1;
  for (int i = 0; i + 1 < tensor.dims(); ++i) *inputs *= tensor.dim_size(i);
  *outputs = tensor.dim_size(tensor.dims() - 1);
  return tf::OkStatus();
}

class SparseStructureOp : public tf::OpKernel {
 public:
  explicit SparseStructureOp(OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("capacity", &capacity_));
  }

  void Compute(OpKernelContext* context) override {
    const float* mask;
    int64_t inputs, outputs;
    OP_REQUIRES_OK(context,
                   GetMatrix(context, 0, "mask", &mask, &inputs, &outputs));
    const int64_t active = CountActive(mask, inputs * outputs);
    OP_REQUIRES(context, active <= capacity_,
                tf::errors::InvalidArgument("mask has ", active,
                                            " active weights, but there is ",
                                            "room for ", capacity_, "."));
    Tensor* structure;
    OP_REQUIRES_OK(
        context,
        context->allocate_output(
            0,
            TensorShape({SparseStructure::Size(inputs, outputs, capacity_)}),
            &structure));
    WriteStructure(mask, inputs, outputs, capacity_,
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
    const float* kernel;
    int64_t inputs, outputs;
    OP_REQUIRES_OK(context,
                   GetMatrix(context, 0, "kernel", &kernel, &inputs, &outputs));
    SparseStructure structure;
    OP_REQUIRES_OK(context, GetStructure(context->input(1), inputs, outputs,
                                         capacity_, &structure));
    Tensor* values;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, TensorShape({capacity_}), &values));
    GatherValues(structure, kernel, values->flat<float>().data());
  }

 private:
  int64_t capacity_;
};

class SparseScatterOp : public tf::OpKernel {
 public:
  explicit SparseScatterOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("shape", &shape_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& values = context->input(0);
    Tensor* kernel;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, TensorShape(shape_), &kernel));
    const int64_t outputs = shape_.back();
    SparseStructure structure;
    OP_REQUIRES_OK(
        context, GetStructure(context->input(1),
                              kernel->NumElements() / outputs, outputs,
                              values.NumElements(), &structure));
    ScatterValues(structure, values.flat<float>().data(),
                  kernel->flat<float>().data());
  }

 private:
  std::vector<int64_t> shape_;
};

class InstructionsOp : public tf::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    Tensor* name;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, TensorShape({}), &name));
    name->scalar<tf::tstring>()() = BestKernels().name;
  }
};

REGISTER_OP("RiglInstructions")
    .Output("name: string")
    .SetShapeFn(tf::shape_inference::ScalarShape)
    .Doc("Which instructions the kernels use: see kernels.h.");

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
mask: (..., inputs, outputs), not zero where a weight is active.
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
    .Doc("Reads the active weights of a kernel (..., inputs, outputs).");

REGISTER_OP("RiglSparseScatter")
    .Attr("shape: list(int) >= 2")
    .Attr("sparse_gradient: bool = false")
    .Input("values: float")
    .Input("structure: int32")
    .Output("kernel: float")
    .SetShapeFn([](InferenceContext* c) {
      std::vector<int64_t> shape;
      TF_RETURN_IF_ERROR(c->GetAttr("shape", &shape));
      if (*std::min_element(shape.begin(), shape.end()) < 1) {
        return tf::errors::InvalidArgument("shape must be positive.");
      }
      tf::shape_inference::ShapeHandle kernel;
      TF_RETURN_IF_ERROR(
          c->MakeShapeFromTensorShape(TensorShape(shape), &kernel));
      c->set_output(0, kernel);
      return tf::OkStatus();
    })
    .Doc(R"doc(
Makes a kernel (..., inputs, outputs) of its active weights.

sparse_gradient: whether its gradient is that of the active weights only.
)doc");

#define RIGL_RL_REGISTER(name)                                        \
  REGISTER_KERNEL_BUILDER(Name("Rigl" #name).Device(tf::DEVICE_CPU), \
                          name##Op)
RIGL_RL_REGISTER(Instructions);
RIGL_RL_REGISTER(SparseStructure);
RIGL_RL_REGISTER(SparseGather);
RIGL_RL_REGISTER(SparseScatter);
#undef RIGL_RL_REGISTER

}  // namespace
}  // namespace rigl_rl
