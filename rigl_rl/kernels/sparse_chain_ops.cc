// The operations of sparse layers as TensorFlow sees them. A chain of layers is
// one operation: so examples go through all of them in one thread, and their
// activations stay features x examples in between.

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "../runtime/sharing.h"
#include "kernels.h"
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
using tf::shape_inference::DimensionHandle;
using tf::shape_inference::InferenceContext;
using tf::shape_inference::ShapeHandle;

// Examples of a block at most, and how few are not divided. Threads share blocks,
// whatever the number of threads, so that sums do not depend on it; where there
// is one alone, they share rows.
constexpr int64_t kBlock = 128;
constexpr int64_t kUndivided = 32;

// How activations lie: in blocks of examples, one after the other, each of all
// rows, and rows side by side. So a thread's lie together.
struct Layout {
  explicit Layout(int64_t examples)
      : examples(examples),
        stride(RoundUp(examples <= kUndivided
                           ? examples
                           : std::min(kBlock, (examples + 1) / 2))),
        blocks(examples == 0 ? 0 : (examples + stride - 1) / stride) {}

  int64_t ExamplesOf(int64_t block) const {
    return std::min(stride, examples - block * stride);
  }
  // All of a block's, on some rows.
  Range RangeOf(int64_t block, int64_t first, int64_t last) const {
    return {0, RoundUp(ExamplesOf(block)), first, last};
  }
  static int64_t RoundUp(int64_t examples) {
    return (examples + kLanes - 1) / kLanes * kLanes;
  }

  int64_t examples;
  int64_t stride;
  int64_t blocks;
};

struct SparseLayer {
  SparseStructure structure;
  const float* values;
  const float* bias;  // Null where there is none.
  Activation activation;
  int64_t row;  // Of its outputs among all activations.
};

// Which input of the gradients' operations `saved` is.
constexpr int kSaved = 1;

// What the operations on a chain share.
class ChainOp : public tf::OpKernel {
 public:
  explicit ChainOp(OpKernelConstruction* context) : OpKernel(context) {
    std::vector<std::string> activations;
    OP_REQUIRES_OK(context, context->GetAttr("units", &units_));
    OP_REQUIRES_OK(context, context->GetAttr("activations", &activations));
    OP_REQUIRES(context, units_.size() == activations.size() + 1,
                tf::errors::InvalidArgument(
                    "units must hold the inputs and each layer's outputs."));
    for (const std::string& name : activations) {
      activations_.push_back(name == "relu"   ? Activation::kRelu
                             : name == "tanh" ? Activation::kTanh
                                              : Activation::kLinear);
    }
    rows_ = std::accumulate(units_.begin(), units_.end(), int64_t{0});
  }

 protected:
  int64_t count() const { return activations_.size(); }

  // Reads the layers from the inputs `values`, `structure` and `bias`.
  tf::Status GetLayers(OpKernelContext* context,
                       std::vector<SparseLayer>* layers) const {
    tf::OpInputList values, structures, biases;
    TF_RETURN_IF_ERROR(context->input_list("values", &values));
    TF_RETURN_IF_ERROR(context->input_list("structure", &structures));
    TF_RETURN_IF_ERROR(context->input_list("bias", &biases));
    int64_t row = units_[0];
    for (int i = 0; i < count(); ++i) {
      const int64_t capacity = values[i].NumElements();
      TF_RETURN_IF_ERROR(CheckSize(
          "structure", structures[i],
          SparseStructure::Size(units_[i], units_[i + 1], capacity)));
      SparseLayer layer;
      layer.structure =
          SparseStructure::At(structures[i].flat<int32_t>().data(), units_[i],
                              units_[i + 1], capacity);
      if (!layer.structure.IsSound()) {
        return tf::errors::InvalidArgument("structure ", i, " is no structure ",
                                           "of ", capacity, " values.");
      }
      layer.values = values[i].flat<float>().data();
      layer.bias = nullptr;
      if (biases[i].NumElements() != 0) {
        TF_RETURN_IF_ERROR(CheckSize("bias", biases[i], units_[i + 1]));
        layer.bias = biases[i].flat<float>().data();
      }
      layer.activation = activations_[i];
      layer.row = row;
      row += units_[i + 1];
      layers->push_back(layer);
    }
    return tf::OkStatus();
  }

  // One layer's part of the work on a block, which threads can share by rows.
  struct Step {
    int64_t rows;
    int64_t weights;
    std::function<void(int64_t block, int64_t first, int64_t last)> work;
  };
  using WorkOnBlock = std::function<void(int64_t block)>;

  // Does for each block what `enter` does, then the steps, then `leave`.
  static void Walk(OpKernelContext* context, const Layout& layout,
                   const WorkOnBlock& enter, const std::vector<Step>& steps,
                   const WorkOnBlock& leave) {
    if (layout.blocks == 0) return;
    // A weight takes some two cycles for as many examples as a vector has lanes.
    const int64_t vectors = layout.stride / kLanes;
    if (layout.blocks == 1) {
      enter(0);
      for (const Step& step : steps) {
        const int64_t cost =
            1 + 2 * vectors * step.weights / std::max<int64_t>(step.rows, 1);
        Share(context, step.rows, cost, [&](int64_t first, int64_t last) {
          step.work(0, first, last);
        });
      }
      leave(0);
      return;
    }
    int64_t weights = 0;
    for (const Step& step : steps) weights += step.weights;
    Share(context, layout.blocks, 2 * vectors * weights,
          [&](int64_t first, int64_t last) {
            for (int64_t block = first; block < last; ++block) {
              enter(block);
              for (const Step& step : steps) step.work(block, 0, step.rows);
              leave(block);
            }
          });
  }

  // Where a block's activations are, from some row on.
  template <typename Float>
  Float* At(Float* activations, const Layout& layout, int64_t block,
            int64_t row) const {
    return activations + (block * rows_ + row) * layout.stride;
  }

  // What gradients are computed by. `deltas` are the gradients of what `saved`
  // holds, laid out alike.
  struct Backward {
    std::vector<SparseLayer> layers;
    const float* dy;
    Layout layout{0};
    const float* saved;
    Tensor deltas_tensor;
    float* deltas;
  };

  // Reads what both gradients are computed by.
  tf::Status Begin(OpKernelContext* context, Backward* pass) const {
    TF_RETURN_IF_ERROR(GetLayers(context, &pass->layers));
    const Tensor *dy, *saved;
    TF_RETURN_IF_ERROR(context->input("dy", &dy));
    TF_RETURN_IF_ERROR(context->input("saved", &saved));
    if (dy->dims() != 2 || dy->dim_size(1) != units_.back()) {
      return tf::errors::InvalidArgument(
          "dy must be (examples, ", units_.back(), "), but has the shape ",
          dy->shape().DebugString(), ".");
    }
    pass->dy = dy->flat<float>().data();
    pass->layout = Layout(dy->dim_size(0));
    const int64_t size = SizeOf(pass->layout);
    TF_RETURN_IF_ERROR(CheckSize("saved", *saved, size));
    pass->saved = saved->flat<float>().data();
    // In their place, if nothing else needs those: the less memory is touched,
    // the more of what comes next is in a cache. A layer's activations have been
    // read when their gradients are written, but for the slopes of the last.
    std::vector<int> place;
    if (activations_.back() == Activation::kLinear) place.push_back(kSaved);
    TF_RETURN_IF_ERROR(context->forward_input_or_allocate_temp(
        place, tf::DT_FLOAT, TensorShape({size}), &pass->deltas_tensor));
    pass->deltas = pass->deltas_tensor.flat<float>().data();
    return tf::OkStatus();
  }

  // Writes the gradients of the last layer's outputs, before its activation.
  void Start(const Backward& pass, int64_t block) const {
    const Layout& layout = pass.layout;
    const SparseLayer& last = pass.layers.back();
    float* deltas = At(pass.deltas, layout, block, last.row);
    BestKernels().to_columns(
        pass.dy + block * layout.stride * units_.back(),
        layout.ExamplesOf(block), units_.back(), layout.stride, deltas);
    BestKernels().activation_gradient(
        last.activation, At(pass.saved, layout, block, last.row), deltas,
        layout.stride, layout.RangeOf(block, 0, units_.back()));
  }

  // Takes the gradients of layer i's outputs to its inputs.
  Step Carry(const Backward& pass, int i) const {
    const SparseLayer& layer = pass.layers[i];
    const auto work = [this, &pass, &layer, i](int64_t block, int64_t first,
                                               int64_t last) {
      const Layout& layout = pass.layout;
      const int64_t below = layer.row - units_[i];
      BestKernels().input_gradient(
          layer.structure, layer.values,
          i == 0 ? Activation::kLinear : pass.layers[i - 1].activation,
          i == 0 ? nullptr : At(pass.saved, layout, block, below),
          At(pass.deltas, layout, block, layer.row),
          At(pass.deltas, layout, block, below), layout.stride,
          layout.RangeOf(block, first, last));
    };
    return {units_[i], layer.structure.count(), work};
  }

  int64_t SizeOf(const Layout& layout) const {
    return rows_ * layout.stride * layout.blocks;
  }

  std::vector<int64_t> units_;
  std::vector<Activation> activations_;
  int64_t rows_;
};

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
    const Layout layout(x.dim_size(0));
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
        context, layout,
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
    OP_REQUIRES_OK(context, Begin(context, &pass));
    const std::vector<SparseLayer>& layers = pass.layers;
    const Layout& layout = pass.layout;

    // The gradients, and where each lies in a block's sums.
    std::vector<float*> gradients;
    std::vector<int64_t> sizes;
    tf::OpOutputList dvalues, dbiases;
    OP_REQUIRES_OK(context, context->output_list("dvalues", &dvalues));
    OP_REQUIRES_OK(context, context->output_list("dbias", &dbiases));
    const auto add_output = [&](tf::OpOutputList* list, int i, int64_t size) {
      Tensor* output;
      TF_RETURN_IF_ERROR(list->allocate(i, TensorShape({size}), &output));
      gradients.push_back(output->flat<float>().data());
      sizes.push_back(size);
      return tf::OkStatus();
    };
    for (int i = 0; i < count(); ++i) {
      const SparseStructure& structure = layers[i].structure;
      OP_REQUIRES_OK(context, add_output(&dvalues, i, structure.capacity));
      OP_REQUIRES_OK(
          context,
          add_output(&dbiases, i,
                     layers[i].bias == nullptr ? 0 : structure.outputs));
      std::fill(gradients[2 * i] + structure.count(),
                gradients[2 * i] + structure.capacity, 0.0f);
    }
    if (layout.blocks == 0) {
      for (size_t i = 0; i < sizes.size(); ++i) {
        std::fill_n(gradients[i], sizes[i], 0.0f);
      }
      return;
    }

    // Each block but the first, which writes the outputs, has sums of its own.
    const int64_t size = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    Tensor sums_tensor;
    OP_REQUIRES_OK(context,
                   context->allocate_temp(
                       tf::DT_FLOAT, TensorShape({(layout.blocks - 1) * size}),
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
        if (block > 0) {
          dvalues = sums + (block - 1) * size + begin;
          dbias = dvalues + sizes[2 * i];
        }
        BestKernels().weight_gradient(
            layer.structure,
            At(pass.saved, layout, block, layer.row - units_[i]),
            At(pass.deltas, layout, block, layer.row), dvalues,
            layer.bias == nullptr ? nullptr : dbias, layout.stride,
            layout.RangeOf(block, first, last));
      };
      steps.push_back({units_[i + 1], layer.structure.count(), work});
      if (i > 0) steps.push_back(Carry(pass, i));
    }
    Walk(
        context, layout, [&](int64_t block) { Start(pass, block); }, steps,
        [](int64_t) {});
    for (int64_t block = 1; block < layout.blocks; ++block) {
      const float* next = sums + (block - 1) * size;
      for (size_t i = 0; i < gradients.size(); ++i) {
        // Of values, those in use.
        const int64_t used =
            i % 2 == 0 ? layers[i / 2].structure.count() : sizes[i];
        float* gradient = gradients[i];
        for (int64_t k = 0; k < used; ++k) gradient[k] += next[k];
        next += sizes[i];
      }
    }
  }
};

class SparseChainInputGradientOp : public ChainOp {
 public:
  using ChainOp::ChainOp;

  void Compute(OpKernelContext* context) override {
    Backward pass;
    OP_REQUIRES_OK(context, Begin(context, &pass));
    const Layout& layout = pass.layout;
    Tensor* dx;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0, TensorShape({layout.examples, units_[0]}), &dx));
    std::vector<Step> steps;
    for (int i = count() - 1; i >= 0; --i) steps.push_back(Carry(pass, i));
    Walk(
        context, layout, [&](int64_t block) { Start(pass, block); }, steps,
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
values: each layer's active weights.
structure: where they lie, as RiglSparseStructure has it.
bias: each layer's, or of size 0.
y: (examples, outputs of the last).
saved: what the gradients are computed by.
)");

REGISTER_OP("RiglSparseChainWeightGradient")
    .Attr("L: int >= 1")
    .Attr("units: list(int) >= 2")
    .Attr("activations: list({'linear', 'relu', 'tanh'}) >= 1")
    .Input("dy: float")
    .Input("saved: float")
    .Input("values: L * float")
    .Input("structure: L * int32")
    .Input("bias: L * float")
    .Output("dvalues: L * float")
    .Output("dbias: L * float")
    .SetShapeFn(WeightGradientShape)
    .Doc("Gradients of the active weights and biases of RiglSparseChain.");

REGISTER_OP("RiglSparseChainInputGradient")
    .Attr("L: int >= 1")
    .Attr("units: list(int) >= 2")
    .Attr("activations: list({'linear', 'relu', 'tanh'}) >= 1")
    .Input("dy: float")
    .Input("saved: float")
    .Input("values: L * float")
    .Input("structure: L * int32")
    .Input("bias: L * float")
    .Output("dx: float")
    .SetShapeFn(InputGradientShape)
    .Doc("Gradient of the input of RiglSparseChain.");

#define RIGL_RL_REGISTER(name)                                        \
  REGISTER_KERNEL_BUILDER(Name("Rigl" #name).Device(tf::DEVICE_CPU), \
                          name##Op)
RIGL_RL_REGISTER(SparseChain);
RIGL_RL_REGISTER(SparseChainWeightGradient);
RIGL_RL_REGISTER(SparseChainInputGradient);
#undef RIGL_RL_REGISTER

}  // namespace
}  // namespace rigl_rl
