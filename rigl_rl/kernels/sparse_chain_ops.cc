// The operations of sparse layers as TensorFlow sees them. A chain of layers is
// one operation, so examples pass through all layers in one thread, and their
// activations stay features x examples in between.

#include <algorithm>
#include <numeric>
#include <vector>

#include "sparse_chain.h"
#include "tensorflow/core/framework/op.h"

namespace rigl_rl {
namespace {

using tf::shape_inference::DimensionHandle;
using tf::shape_inference::ShapeHandle;

class SparseChainOp : public ChainOp {
 public:
  using ChainOp::ChainOp;

  void Compute(OpKernelContext* context) override {
    std::vector<SparseLayer> layers;
    OP_REQUIRES_OK(context, GetLayers(context, &layers));
    const Tensor& x = context->input(0);
    OP_REQUIRES(context, x.dims() == 2 && x.dim_size(1) == units_[0],
                tf::errors::InvalidArgument(
                    "x must be (examples, ", units_[0], "), but has the shape ",
                    x.shape().DebugString(), "."));
    const Layout layout = LayoutOf(x.dim_size(0));
    Tensor* y;
    Tensor* saved_tensor;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0, TensorShape({layout.examples, units_.back()}), &y));
    OP_REQUIRES_OK(context,
                   context->allocate_output(1, TensorShape({SizeOf(layout)}),
                                            &saved_tensor));
    const float* from = x.flat<float>().data();
    float* to = y->flat<float>().data();
    float* saved = saved_tensor->flat<float>().data();
    std::vector<Step> steps;
    for (int i = 0; i < count(); ++i) {
      const SparseLayer& layer = layers[i];
      const auto work = [this, &layout, &layer, saved, i](
                            int64_t block, int64_t first, int64_t last) {
        BestKernels().forward(
            layer.structure, layer.values, layer.bias, layer.activation,
            At(saved, layout, block, layer.row - units_[i]),
            At(saved, layout, block, layer.row), layout.stride,
            layout.RangeOf(block, first, last));
      };
      steps.push_back({units_[i + 1], layer.structure.count(), work});
    }
    Walk(
        context, layout, 1,
        [&](int64_t block) {
          BestKernels().to_columns(from + block * layout.stride * units_[0],
                                   layout.ExamplesOf(block), units_[0],
                                   layout.stride,
                                   At(saved, layout, block, 0));
        },
        steps,
        [&](int64_t block) {
          BestKernels().from_columns(
              At(saved, layout, block, layers.back().row),
              layout.ExamplesOf(block), units_.back(), layout.stride,
              to + block * layout.stride * units_.back());
        });
  }
};

class SparseChainWeightGradientOp : public ChainOp {
 public:
  using ChainOp::ChainOp;

  void Compute(OpKernelContext* context) override {
    Backward pass;
    OP_REQUIRES_OK(context, Begin(context, 1, &pass));
    const std::vector<SparseLayer>& layers = pass.layers;
    const Layout& layout = pass.layout;

    // The gradients, and where each is in a block's sums.
    std::vector<float*> gradients;
    std::vector<int64_t> sizes;
    tf::OpOutputList dvalues, dbiases;
    OP_REQUIRES_OK(context, context->output_list("dvalues", &dvalues));
    OP_REQUIRES_OK(context, context->output_list("dbias", &dbiases));
    const auto add_output = [&](tf::OpOutputList* list, int i,
                                const TensorShape& shape) {
      Tensor* output;
      TF_RETURN_IF_ERROR(list->allocate(i, shape, &output));
      gradients.push_back(output->flat<float>().data());
      sizes.push_back(shape.num_elements());
      return tf::OkStatus();
    };
    for (int i = 0; i < count(); ++i) {
      const SparseStructure& structure = layers[i].structure;
      const Tensor& values = context->input(kValues + i);
      const Tensor& bias = context->input(kValues + 2 * count() + i);
      OP_REQUIRES_OK(context, add_output(&dvalues, i, values.shape()));
      OP_REQUIRES_OK(context, add_output(&dbiases, i, bias.shape()));
      std::fill(gradients[2 * i] + structure.count(),
                gradients[2 * i] + structure.capacity, 0.0f);
    }
    if (layout.blocks == 0) {
      for (size_t i = 0; i < sizes.size(); ++i) {
        std::fill_n(gradients[i], sizes[i], 0.0f);
      }
      return;
    }

    // Blocks are summed together; each sum but the first, which is in the
    // outputs, has a place of its own.
    // At least two sums, if there are two blocks, so that threads can share them.
    const int64_t together = std::max<int64_t>(
        std::min(kSummed / layout.stride, layout.blocks / 2), 1);
    const int64_t more = (layout.blocks - 1) / together;
    const int64_t size = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    Tensor sums_tensor;
    OP_REQUIRES_OK(context, context->allocate_temp(tf::DT_FLOAT,
                                                   TensorShape({more * size}),
                                                   &sums_tensor));
    float* sums = sums_tensor.flat<float>().data();
    std::vector<Step> steps;
    int64_t begin = size;  // Of layer i's sums among a block's.
    for (int i = count() - 1; i >= 0; --i) {
      begin -= sizes[2 * i] + sizes[2 * i + 1];
      const SparseLayer& layer = layers[i];
      const auto work = [&, begin, i](int64_t block, int64_t first,
                                      int64_t last) {
        float* dvalues = gradients[2 * i];
        float* dbias = gradients[2 * i + 1];
        if (block >= together) {
          dvalues = sums + (block / together - 1) * size + begin;
          dbias = dvalues + sizes[2 * i];
        }
        BestKernels().weight_gradient(
            layer.structure,
            At(pass.saved, layout, block, layer.row - units_[i]),
            At(pass.deltas, layout, block, layer.row), dvalues,
            layer.bias == nullptr ? nullptr : dbias, layout.stride,
            layout.RangeOf(block, first, last), block % together > 0);
      };
      steps.push_back({units_[i + 1], layer.structure.count(), work});
      if (i > 0) steps.push_back(Carry(pass, i));
    }
    Walk(
        context, layout, together,
        [&](int64_t block) { Start(pass, block); }, steps, [](int64_t) {});
    for (size_t i = 0, begin = 0; i < sizes.size(); begin += sizes[i++]) {
      // Only the values in use.
      const int64_t used =
          i % 2 == 0 ? layers[i / 2].structure.count() : sizes[i];
      Share(context, used, more, [&](int64_t first, int64_t last) {
        for (int64_t sum = 0; sum < more; ++sum) {
          const float* next = sums + sum * size + begin;
          for (int64_t k = first; k < last; ++k) gradients[i][k] += next[k];
        }
      });
    }
  }
};

class SparseChainInputGradientOp : public ChainOp {
 public:
  using ChainOp::ChainOp;

  void Compute(OpKernelContext* context) override {
    Backward pass;
    OP_REQUIRES_OK(context, Begin(context, 0, &pass));
    const Layout& layout = pass.layout;
    Tensor* dx;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0, TensorShape({layout.examples, units_[0]}), &dx));
    std::vector<Step> steps;
    for (int i = count() - 1; i >= 0; --i) steps.push_back(Carry(pass, i));
    Walk(
        context, layout, 1, [&](int64_t block) { Start(pass, block); }, steps,
        [&](int64_t block) {
          BestKernels().from_columns(
              At(pass.deltas, layout, block, 0), layout.ExamplesOf(block),
              units_[0], layout.stride,
              dx->flat<float>().data() + block * layout.stride * units_[0]);
        });
  }
};

// Reads the attribute `units`, at least two numbers.
tf::Status GetUnits(InferenceContext* c, std::vector<int64_t>* units) {
  TF_RETURN_IF_ERROR(c->GetAttr("units", units));
  if (units->size() < 2) {
    return tf::errors::InvalidArgument("units must hold two numbers or more.");
  }
  return tf::OkStatus();
}

tf::Status ChainShape(InferenceContext* c) {
  std::vector<int64_t> units;
  TF_RETURN_IF_ERROR(GetUnits(c, &units));
  ShapeHandle x;
  DimensionHandle features;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &x));
  TF_RETURN_IF_ERROR(c->WithValue(c->Dim(x, 1), units[0], &features));
  c->set_output(0, c->Matrix(c->Dim(x, 0), units.back()));
  c->set_output(1, c->Vector(c->UnknownDim()));
  return tf::OkStatus();
}

tf::Status WeightGradientShape(InferenceContext* c) {
  int layers;
  TF_RETURN_IF_ERROR(c->GetAttr("L", &layers));
  for (int i = 0; i < layers; ++i) {
    c->set_output(i, c->input(2 + i));
    c->set_output(layers + i, c->input(2 + 2 * layers + i));
  }
  return tf::OkStatus();
}

tf::Status InputGradientShape(InferenceContext* c) {
  std::vector<int64_t> units;
  TF_RETURN_IF_ERROR(GetUnits(c, &units));
  ShapeHandle dy;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &dy));
  c->set_output(0, c->Matrix(c->Dim(dy, 0), units[0]));
  return tf::OkStatus();
}

REGISTER_OP("RiglSparseChain")
    .Attr("L: int >= 1")
    .Attr("units: list(int) >= 2")
    .Attr("activations: list({'linear', 'relu', 'tanh'}) >= 1")
    .Input("x: float")
    .Input("values: L * float")
    .Input("structure: L * int32")
    .Input("bias: L * float")
    .Output("y: float")
    .Output("saved: float")
    .SetShapeFn(ChainShape)
    .Doc(R"(
Sends examples through sparse layers, one after the other.

units: the inputs, and each layer's outputs.
x: (examples, inputs).
values: each layer's active weights, or its kernel (inputs, outputs).
structure: where they lie, as RiglSparseStructure has it; empty for a kernel.
bias: each layer's, or of size 0.
y: (examples, outputs of the last).
saved: what the gradients are computed by.
)");

#define RIGL_RL_GRADIENT_OP(name)                                    \
  REGISTER_OP(name)                                                  \
      .Attr("L: int >= 1")                                           \
      .Attr("units: list(int) >= 2")                                 \
      .Attr("activations: list({'linear', 'relu', 'tanh'}) >= 1")    \
      .Input("dy: float")                                            \
      .Input("saved: float")                                         \
      .Input("values: L * float")                                    \
      .Input("structure: L * int32")                                 \
      .Input("bias: L * float")

RIGL_RL_GRADIENT_OP("RiglSparseChainWeightGradient")
    .Output("dvalues: L * float")
    .Output("dbias: L * float")
    .SetShapeFn(WeightGradientShape)
    .Doc("Gradients of the active weights and biases of RiglSparseChain.");

RIGL_RL_GRADIENT_OP("RiglSparseChainInputGradient")
    .Output("dx: float")
    .SetShapeFn(InputGradientShape)
    .Doc("Gradient of the input of RiglSparseChain.");
#undef RIGL_RL_GRADIENT_OP

#define RIGL_RL_REGISTER(name)                                        \
  REGISTER_KERNEL_BUILDER(Name("Rigl" #name).Device(tf::DEVICE_CPU), \
                          name##Op)
RIGL_RL_REGISTER(SparseChain);
RIGL_RL_REGISTER(SparseChainWeightGradient);
RIGL_RL_REGISTER(SparseChainInputGradient);
#undef RIGL_RL_REGISTER

}  // namespace
}  // namespace rigl_rl
