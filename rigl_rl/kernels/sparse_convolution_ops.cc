// Convolutions by active weights, and their gradients, as TensorFlow sees them.

#include <algorithm>
#include <string>
#include <vector>

#include "../runtime/sharing.h"
#include "convolution_passes.h"
#include "tensorflow/core/framework/op.h"
#include "tensors.h"

namespace rigl_rl {
namespace {

// Reads the attributes, from an OpKernelConstruction or an InferenceContext.
template <typename Context>
tf::Status GetConvolution(Context* context, Convolution* convolution) {
  std::vector<int64_t> image, window, strides;
  std::string padding;
  TF_RETURN_IF_ERROR(context->GetAttr("image", &image));
  TF_RETURN_IF_ERROR(context->GetAttr("window", &window));
  TF_RETURN_IF_ERROR(context->GetAttr("strides", &strides));
  TF_RETURN_IF_ERROR(context->GetAttr("padding", &padding));
  TF_RETURN_IF_ERROR(context->GetAttr("filters", &convolution->filters));
  if (image.size() != 3 || window.size() != 2 || strides.size() != 2) {
    return tf::errors::InvalidArgument(
        "image must hold three numbers, window and strides two each.");
  }
  if (*std::min_element(window.begin(), window.end()) < 1 ||
      *std::min_element(strides.begin(), strides.end()) < 1) {
    return tf::errors::InvalidArgument("window and strides must be positive.");
  }
  const bool pads = padding == "SAME";
  convolution->rows = Axis::Of(image[0], window[0], strides[0], pads);
  convolution->columns = Axis::Of(image[1], window[1], strides[1], pads);
  convolution->channels = image[2];
  if (std::min({convolution->rows.outputs, convolution->columns.outputs,
                convolution->channels}) < 1) {
    return tf::errors::InvalidArgument("The image is smaller than the window.");
  }
  return tf::OkStatus();
}

class ConvolutionOp : public tf::OpKernel {
 public:
  explicit ConvolutionOp(OpKernelConstruction* context) : OpKernel(context) {
    std::string activation;
    OP_REQUIRES_OK(context, GetConvolution(context, &convolution_));
    OP_REQUIRES_OK(context, context->GetAttr("activation", &activation));
    activation_ = activation == "relu"   ? Activation::kRelu
                  : activation == "tanh" ? Activation::kTanh
                                         : Activation::kLinear;
  }

 protected:
  static int64_t BlocksOf(int64_t examples) {
    return (examples + kLanes - 1) / kLanes;
  }
  static int64_t ExamplesOf(int64_t block, int64_t examples) {
    return std::min(kLanes, examples - block * kLanes);
  }

  TensorShape InputShape(int64_t examples) const {
    return {examples, convolution_.rows.size, convolution_.columns.size,
            convolution_.channels};
  }
  TensorShape OutputShape(int64_t examples) const {
    return {examples, convolution_.rows.outputs, convolution_.columns.outputs,
            convolution_.filters};
  }

  // Reads input `index`, which must have a shape for some number of examples.
  template <typename ShapeOf>
  static tf::Status GetExamples(OpKernelContext* context, int index,
                                const ShapeOf& shape_of, const float** data,
                                int64_t* examples) {
    const Tensor& tensor = context->input(index);
    *examples = tensor.dims() == 0 ? 0 : tensor.dim_size(0);
    if (tensor.shape() != shape_of(*examples)) {
      return tf::errors::InvalidArgument(
          "Input ", index, " must have the shape ",
          shape_of(*examples).DebugString(), ", but has ",
          tensor.shape().DebugString(), ".");
    }
    *data = tensor.flat<float>().data();
    return tf::OkStatus();
  }

  tf::Status GetLayer(OpKernelContext* context, SparseStructure* structure,
                      const float** values) const {
    const Tensor *values_tensor, *structure_tensor;
    TF_RETURN_IF_ERROR(context->input("values", &values_tensor));
    TF_RETURN_IF_ERROR(context->input("structure", &structure_tensor));
    *values = values_tensor->flat<float>().data();
    return GetStructure(*structure_tensor, convolution_.inputs(),
                        convolution_.filters, values_tensor->NumElements(),
                        structure);
  }

  // Memory, of `size` vectors of examples per block.
  static tf::Status AllocateVectors(OpKernelContext* context, int64_t examples,
                                    int64_t size, Tensor* tensor) {
    return context->allocate_temp(
        tf::DT_FLOAT, TensorShape({BlocksOf(examples), size * kLanes}), tensor);
  }

  // Calls `work(block)` for all blocks. A weight takes about a cycle per output.
  template <typename Work>
  void ForBlocks(OpKernelContext* context, int64_t examples, int64_t weights,
                 const Work& work) const {
    const int64_t outputs =
        convolution_.rows.outputs * convolution_.columns.outputs;
    Share(context, BlocksOf(examples), outputs * (weights + 1),
          [&](int64_t first, int64_t last) {
            for (int64_t block = first; block < last; ++block) work(block);
          });
  }

  Convolution convolution_;
  Activation activation_;
};

class SparseConvolutionOp : public ConvolutionOp {
 public:
  using ConvolutionOp::ConvolutionOp;

  void Compute(OpKernelContext* context) override {
    SparseStructure structure;
    const float *x, *values;
    int64_t examples;
    const auto shape = [&](int64_t n) { return InputShape(n); };
    OP_REQUIRES_OK(context, GetExamples(context, 0, shape, &x, &examples));
    OP_REQUIRES_OK(context, GetLayer(context, &structure, &values));
    const Tensor& bias = context->input(3);
    if (bias.NumElements() != 0) {
      OP_REQUIRES_OK(context, CheckSize("bias", bias, convolution_.filters));
    }
    const Image image = convolution_.image();
    Tensor *y, *saved;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, OutputShape(examples), &y));
    OP_REQUIRES_OK(
        context,
        context->allocate_output(
            1, TensorShape({BlocksOf(examples), image.size()}), &saved));
    const int64_t features =
        convolution_.columns.outputs * convolution_.filters;
    Tensor strips;
    OP_REQUIRES_OK(context,
                   AllocateVectors(context, examples, features, &strips));
    const TapVectors taps = ForwardTaps(convolution_, structure, values);
    ForBlocks(context, examples, structure.count(), [&](int64_t block) {
      Convolve(BestKernels(), convolution_, taps.from(0),
               bias.NumElements() == 0 ? nullptr : bias.flat<float>().data(),
               activation_, x + block * InputShape(kLanes).num_elements(),
               ExamplesOf(block, examples),
               saved->flat<float>().data() + block * image.size(),
               strips.flat<float>().data() + block * features * kLanes,
               y->flat<float>().data() +
                   block * OutputShape(kLanes).num_elements());
    });
  }
};

class SparseConvolutionDeltaOp : public ConvolutionOp {
 public:
  using ConvolutionOp::ConvolutionOp;

  void Compute(OpKernelContext* context) override {
    const float *dy, *y;
    int64_t examples;
    const auto shape = [&](int64_t n) { return OutputShape(n); };
    OP_REQUIRES_OK(context, GetExamples(context, 0, shape, &dy, &examples));
    OP_REQUIRES_OK(context, GetExamples(context, 1, shape, &y, &examples));
    OP_REQUIRES(context, context->input(0).shape() == context->input(1).shape(),
                tf::errors::InvalidArgument("dy and y differ in shape."));
    const Image image = convolution_.delta();
    Tensor* delta;
    OP_REQUIRES_OK(
        context,
        context->allocate_output(
            0, TensorShape({BlocksOf(examples), image.size()}), &delta));
    ForBlocks(context, examples, convolution_.filters, [&](int64_t block) {
      const int64_t at = block * OutputShape(kLanes).num_elements();
      WriteDelta(BestKernels(), convolution_, activation_, dy + at, y + at,
                 ExamplesOf(block, examples),
                 delta->flat<float>().data() + block * image.size());
    });
  }
};

class SparseConvolutionInputGradientOp : public ConvolutionOp {
 public:
  using ConvolutionOp::ConvolutionOp;

  void Compute(OpKernelContext* context) override {
    SparseStructure structure;
    const float *dy, *values;
    int64_t examples;
    const auto shape = [&](int64_t n) { return OutputShape(n); };
    OP_REQUIRES_OK(context, GetExamples(context, 0, shape, &dy, &examples));
    OP_REQUIRES_OK(context, GetLayer(context, &structure, &values));
    const Tensor& delta = context->input(1);
    const int64_t size = convolution_.delta().size();
    OP_REQUIRES_OK(context,
                   CheckSize("delta", delta, BlocksOf(examples) * size));
    Tensor* dx;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, InputShape(examples), &dx));
    const int64_t features = convolution_.columns.size * convolution_.channels;
    Tensor strips;
    OP_REQUIRES_OK(context,
                   AllocateVectors(context, examples, features, &strips));
    const TapVectors taps = InputTaps(convolution_, structure, values);
    ForBlocks(context, examples, structure.count(), [&](int64_t block) {
      PassBack(BestKernels(), convolution_, taps,
               delta.flat<float>().data() + block * size,
               ExamplesOf(block, examples),
               strips.flat<float>().data() + block * features * kLanes,
               dx->flat<float>().data() +
                   block * InputShape(kLanes).num_elements());
    });
  }
};

class SparseConvolutionWeightGradientOp : public ConvolutionOp {
 public:
  using ConvolutionOp::ConvolutionOp;

  void Compute(OpKernelContext* context) override {
    SparseStructure structure;
    const float* values;
    OP_REQUIRES_OK(context, GetLayer(context, &structure, &values));
    const Tensor& delta = context->input(0);
    const Tensor& saved = context->input(1);
    const int64_t delta_size = convolution_.delta().size();
    const int64_t image_size = convolution_.image().size();
    const int64_t blocks = delta.NumElements() / delta_size;
    OP_REQUIRES_OK(context, CheckSize("delta", delta, blocks * delta_size));
    OP_REQUIRES_OK(context, CheckSize("saved", saved, blocks * image_size));
    Tensor *dvalues, *dbias;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0, TensorShape({structure.capacity}), &dvalues));
    OP_REQUIRES_OK(context, context->allocate_output(
                                1, context->input(4).shape(), &dbias));
    // A block's: a vector per weight, then one per filter.
    const int64_t count = structure.count();
    const int64_t size = count + convolution_.filters;
    Tensor sums_tensor;
    OP_REQUIRES_OK(context, AllocateVectors(context, blocks * kLanes, size,
                                            &sums_tensor));
    float* const sums = sums_tensor.flat<float>().data();
    std::fill_n(sums, sums_tensor.NumElements(), 0.0f);
    const TapVectors taps = ForwardTaps(convolution_, structure, values);
    ForBlocks(context, blocks * kLanes, count, [&](int64_t block) {
      float* const own = sums + block * size * kLanes;
      AddGradients(BestKernels(), convolution_, taps.from(0),
                   saved.flat<float>().data() + block * image_size,
                   delta.flat<float>().data() + block * delta_size, own,
                   own + count * kLanes);
    });
    std::vector<float> totals(size);
    BestKernels().sum_lanes(sums, size, blocks, totals.data());
    float* const gradient = dvalues->flat<float>().data();
    std::copy_n(totals.data(), count, gradient);
    std::fill_n(gradient + count, structure.capacity - count, 0.0f);
    std::copy_n(totals.data() + count, dbias->NumElements(),
                dbias->flat<float>().data());
  }
};

tf::Status OutputShapes(InferenceContext* c) {
  Convolution convolution;
  TF_RETURN_IF_ERROR(GetConvolution(c, &convolution));
  c->set_output(
      0, c->MakeShape({c->Dim(c->input(0), 0), convolution.rows.outputs,
                       convolution.columns.outputs, convolution.filters}));
  c->set_output(1, c->UnknownShapeOfRank(2));
  return tf::OkStatus();
}

tf::Status DeltaShape(InferenceContext* c) {
  c->set_output(0, c->UnknownShapeOfRank(2));
  return tf::OkStatus();
}

tf::Status InputGradientShape(InferenceContext* c) {
  Convolution convolution;
  TF_RETURN_IF_ERROR(GetConvolution(c, &convolution));
  c->set_output(0, c->MakeShape({c->Dim(c->input(0), 0), convolution.rows.size,
                                 convolution.columns.size,
                                 convolution.channels}));
  return tf::OkStatus();
}

tf::Status WeightGradientShape(InferenceContext* c) {
  c->set_output(0, c->input(2));
  c->set_output(1, c->input(4));
  return tf::OkStatus();
}

#define RIGL_RL_CONVOLUTION_OP(name)                  \
  REGISTER_OP(name)                                   \
      .Attr("image: list(int)")                       \
      .Attr("window: list(int)")                      \
      .Attr("strides: list(int)")                     \
      .Attr("padding: {'SAME', 'VALID'}")             \
      .Attr("filters: int >= 1")                      \
      .Attr("activation: {'linear', 'relu', 'tanh'}")

RIGL_RL_CONVOLUTION_OP("RiglSparseConvolution")
    .Input("x: float")
    .Input("values: float")
    .Input("structure: int32")
    .Input("bias: float")
    .Output("y: float")
    .Output("saved: float")
    .SetShapeFn(OutputShapes)
    .Doc(R"(
Convolves images with active weights only.

image: height, width and channels.
x: (examples, height, width, channels).
values: the active weights of the kernel, (window * channels, filters).
structure: where they lie, as RiglSparseStructure has it.
bias: of each filter, or of size 0.
y: (examples, height, width, filters).
saved: what the gradients are computed by.
)");

RIGL_RL_CONVOLUTION_OP("RiglSparseConvolutionDelta")
    .Input("dy: float")
    .Input("y: float")
    .Output("delta: float")
    .SetShapeFn(DeltaShape)
    .Doc("What both gradients of RiglSparseConvolution are computed from.");

RIGL_RL_CONVOLUTION_OP("RiglSparseConvolutionInputGradient")
    .Input("dy: float")
    .Input("delta: float")
    .Input("values: float")
    .Input("structure: int32")
    .Output("dx: float")
    .SetShapeFn(InputGradientShape)
    .Doc("Gradient of the input of RiglSparseConvolution.");

RIGL_RL_CONVOLUTION_OP("RiglSparseConvolutionWeightGradient")
    .Input("delta: float")
    .Input("saved: float")
    .Input("values: float")
    .Input("structure: int32")
    .Input("bias: float")
    .Output("dvalues: float")
    .Output("dbias: float")
    .SetShapeFn(WeightGradientShape)
    .Doc("Gradients of the active weights and biases.");
#undef RIGL_RL_CONVOLUTION_OP

#define RIGL_RL_REGISTER(name)                                        \
  REGISTER_KERNEL_BUILDER(Name("Rigl" #name).Device(tf::DEVICE_CPU), \
                          name##Op)
RIGL_RL_REGISTER(SparseConvolution);
RIGL_RL_REGISTER(SparseConvolutionDelta);
RIGL_RL_REGISTER(SparseConvolutionInputGradient);
RIGL_RL_REGISTER(SparseConvolutionWeightGradient);
#undef RIGL_RL_REGISTER

}  // namespace
}  // namespace rigl_rl
