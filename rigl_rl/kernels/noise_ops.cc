// Noise, as TensorFlow sees the operation.

#include "kernels.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace rigl_rl {
namespace {

namespace tf = ::tensorflow;

class NormalOp : public tf::OpKernel {
 public:
  explicit NormalOp(tf::OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("shape", &shape_));
  }

  void Compute(tf::OpKernelContext* context) override {
    const tf::Tensor& seed = context->input(0);
    OP_REQUIRES(context, seed.shape() == tf::TensorShape({2}),
                tf::errors::InvalidArgument("The seed must be a pair, not ",
                                            seed.shape().DebugString(), "."));
    tf::Tensor* noise;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape_, &noise));
    BestKernels().draw_normal(seed.vec<int32_t>()(0), seed.vec<int32_t>()(1),
                              noise->NumElements(),
                              noise->flat<float>().data());
  }

 private:
  tf::TensorShape shape_;
};

REGISTER_OP("RiglNormal")
    .Input("seed: int32")
    .Output("noise: float")
    .Attr("shape: shape")
    .SetShapeFn([](tf::shape_inference::InferenceContext* c) {
      tf::TensorShape shape;
      tf::shape_inference::ShapeHandle handle;
      TF_RETURN_IF_ERROR(c->GetAttr("shape", &shape));
      TF_RETURN_IF_ERROR(c->MakeShapeFromTensorShape(shape, &handle));
      c->set_output(0, handle);
      return tf::OkStatus();
    })
    .Doc(R"(
Draws noise of a standard normal distribution, as StatelessRandomNormalV2 does.

seed: (2,), which decides all.
noise: of the shape that is asked for.
)");
REGISTER_KERNEL_BUILDER(Name("RiglNormal").Device(tf::DEVICE_CPU), NormalOp);

}  // namespace
}  // namespace rigl_rl
