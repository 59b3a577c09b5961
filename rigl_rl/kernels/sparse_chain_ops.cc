// The operations of sparse layers as TensorFlow sees them. A chain of layers is
// one operation: so examples go through all of them in one thread, and their
// activations stay features x examples in between.

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "sparse_layers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/util/work_sharder.h"
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

// From so many examples on, threads share them; else they share rows.
constexpr int64_t kManyExamples = 128;

int64_t RoundUp(int64_t examples) {
  return (examples + kLanes - 1) / kLanes * kLanes;
}

// Examples that a thread takes at a time, whatever the number of threads: so
// sums do not depend on that.
constexpr int64_t kBlock = 128;
// Work, in cycles, that is shared among threads: less takes about as long as it
// takes to wake one.
constexpr int64_t kSharedWork = 1 << 20;

struct SparseLayer {
  SparseStructure structure;
  const float* values;
  const float* bias;  // Null where there is none.
  Activation activation;
  int64_t row;  // Of its outputs among all activations.
};

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

  // Calls `work(begin, end)` for all of [0, total), in threads if that pays.
  // `cost` is a guess of the cycles of one.
  static void Share(OpKernelContext* context, int64_t total, int64_t cost,
                    const std::function<void(int64_t, int64_t)>& work) {
    if (total * cost < kSharedWork) return work(0, total);
    auto threads = context->device()->tensorflow_cpu_worker_threads();
    tf::Shard(threads->num_threads, threads->workers, total, cost, work);
  }

  // Does the same for blocks of examples: work(first block, its examples).
  static void ShareExamples(
      OpKernelContext* context, int64_t examples, int64_t cost,
      const std::function<void(int64_t, int64_t, int64_t)>& work) {
    const int64_t end = RoundUp(examples);
    Share(context, (end + kBlock - 1) / kBlock, cost * kBlock / kLanes,
          [&](int64_t first, int64_t last) {
            for (int64_t i = first; i < last; ++i) {
              work(i, i * kBlock, std::min(end, (i + 1) * kBlock));
            }
          });
  }

  // Cycles of a weight, or of the weights of a row, on as many examples as a
  // vector has lanes.
  static int64_t CostOf(const std::vector<SparseLayer>& layers) {
    int64_t weights = 0;
    for (const SparseLayer& layer : layers) {
      weights += layer.structure.count();
    }
    return 2 * weights;
  }

  static int64_t RowCost(const SparseLayer& layer, int64_t rows,
                         int64_t examples) {
    return 1 + 2 * layer.structure.count() * (RoundUp(examples) / kLanes) /
                   std::max<int64_t>(rows, 1);
  }

  // What gradients are computed by. `deltas` are the gradients of what `saved`
  // holds, laid out alike.
  struct Backward {
    std::vector<SparseLayer> layers;
    const Tensor* dy;
    int64_t examples;
    int64_t stride;
    const float* saved;
    Tensor deltas_tensor;
    float* deltas;
  };

  // Of layer i: from its outputs' gradients to its inputs'.
  static void Carry(const Backward& pass, int i, Range range) {
    const SparseLayer& layer = pass.layers[i];
    const bool is_first = i == 0;
    const int64_t below =
        is_first ? 0 : pass.layers[i - 1].row * pass.stride;
    BestKernels().input_gradient(
        layer.structure, layer.values,
        is_first ? Activation::kLinear : pass.layers[i - 1].activation,
        is_first ? nullptr : pass.saved + below,
        pass.deltas + layer.row * pass.stride, pass.deltas + below,
        pass.stride, range);
  }

  // Writes the gradients of the last layer's outputs, before its activation.
  void Start(const Backward& pass, int64_t begin, int64_t end) const {
    const SparseLayer& last = pass.layers.back();
    const int64_t at = last.row * pass.stride;
    ToColumns(pass.dy->flat<float>().data(), pass.examples, units_.back(),
              pass.stride, begin, end, pass.deltas + at);
    BestKernels().activation_gradient(last.activation, pass.saved + at,
                                      pass.deltas + at, pass.stride,
                                      {begin, end, 0, units_.back()});
  }

  // Reads what both gradients are computed by.
  tf::Status Begin(OpKernelContext* context, Backward* pass) const {
    TF_RETURN_IF_ERROR(GetLayers(context, &pass->layers));
    const Tensor* saved;
    TF_RETURN_IF_ERROR(context->input("dy", &pass->dy));
    TF_RETURN_IF_ERROR(context->input("saved", &saved));
    if (pass->dy->dims() != 2 || pass->dy->dim_size(1) != units_.back()) {
      return tf::errors::InvalidArgument(
          "dy must be (examples, ", units_.back(), "), but has the shape ",
          pass->dy->shape().DebugString(), ".");
    }
    pass->examples = pass->dy->dim_size(0);
    pass->stride = StrideOf(pass->examples);
    const int64_t size = rows_ * pass->stride;
    TF_RETURN_IF_ERROR(CheckSize("saved", *saved, size));
    pass->saved = saved->flat<float>().data();
    TF_RETURN_IF_ERROR(context->allocate_temp(
        tf::DT_FLOAT, TensorShape({size}), &pass->deltas_tensor));
    pass->deltas = pass->deltas_tensor.flat<float>().data();
    return tf::OkStatus();
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
    const int64_t examples = x.dim_size(0);
    const int64_t stride = StrideOf(examples);
    Tensor* y;
    Tensor* saved_tensor;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, TensorShape({examples, units_.back()}), &y));
    OP_REQUIRES_OK(context,
                   context->allocate_output(1, TensorShape({rows_ * stride}),
                                            &saved_tensor));
    float* saved = saved_tensor->flat<float>().data();
    const auto forward = [&](int i, Range range) {
      const SparseLayer& layer = layers[i];
      const int64_t from = layer.row - units_[i];
      BestKernels().forward(layer.structure, layer.values, layer.bias,
                            layer.activation, saved + from * stride,
                            saved + layer.row * stride, stride, range);
    };
    const auto enter = [&](int64_t begin, int64_t end) {
      ToColumns(x.flat<float>().data(), examples, units_[0], stride, begin, end,
                saved);
    };
    const auto leave = [&](int64_t begin, int64_t end) {
      FromColumns(saved + layers.back().row * stride, examples, units_.back(),
                  stride, begin, end, y->flat<float>().data());
    };
    if (examples >= kManyExamples) {
      ShareExamples(context, examples, CostOf(layers),
                    [&](int64_t, int64_t begin, int64_t end) {
                      enter(begin, end);
                      for (int i = 0; i < count(); ++i) {
                        forward(i, {begin, end, 0, units_[i + 1]});
                      }
                      leave(begin, end);
                    });
      return;
    }
    const int64_t end = RoundUp(examples);
    enter(0, end);
    for (int i = 0; i < count(); ++i) {
      Share(context, units_[i + 1], RowCost(layers[i], units_[i + 1], examples),
            [&](int64_t first, int64_t last) {
              forward(i, {0, end, first, last});
            });
    }
    leave(0, end);
  }
};

class SparseChainWeightGradientOp : public ChainOp {
 public:
  using ChainOp::ChainOp;

  void Compute(OpKernelContext* context) override {
    Backward pass;
    OP_REQUIRES_OK(context, Begin(context, &pass));
    const std::vector<SparseLayer>& layers = pass.layers;
    const int64_t examples = pass.examples;

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
    if (examples == 0) {
      for (size_t i = 0; i < sizes.size(); ++i) {
        std::fill_n(gradients[i], sizes[i], 0.0f);
      }
      return;
    }

    const auto weight_gradient = [&](int i, float* dvalue, float* dbias,
                                     Range range) {
      const SparseLayer& layer = layers[i];
      BestKernels().weight_gradient(
          layer.structure, pass.saved + (layer.row - units_[i]) * pass.stride,
          pass.deltas + layer.row * pass.stride, dvalue,
          layer.bias == nullptr ? nullptr : dbias, pass.stride, range);
    };
    const int64_t end = RoundUp(examples);
    if (examples < kManyExamples) {
      Start(pass, 0, end);
      for (int i = count() - 1; i >= 0; --i) {
        Share(context, units_[i + 1],
              RowCost(layers[i], units_[i + 1], examples),
              [&](int64_t first, int64_t last) {
                weight_gradient(i, gradients[2 * i], gradients[2 * i + 1],
                                {0, end, first, last});
              });
        if (i == 0) break;
        Share(context, units_[i], RowCost(layers[i], units_[i], examples),
              [&](int64_t first, int64_t last) {
                Carry(pass, i, {0, end, first, last});
              });
      }
      return;
    }

    // Each block but the first, which writes the outputs, has sums of its own.
    const int64_t blocks = (end + kBlock - 1) / kBlock;
    const int64_t size = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    Tensor sums_tensor;
    OP_REQUIRES_OK(context, context->allocate_temp(
                                tf::DT_FLOAT, TensorShape({(blocks - 1) * size}),
                                &sums_tensor));
    float* sums = sums_tensor.flat<float>().data();
    ShareExamples(
        context, examples, 2 * CostOf(layers),
        [&](int64_t block, int64_t begin, int64_t last) {
          std::vector<float*> into(gradients);
          if (block > 0) {
            float* next = sums + (block - 1) * size;
            for (size_t i = 0; i < into.size(); ++i) {
              into[i] = next;
              next += sizes[i];
            }
          }
          Start(pass, begin, last);
          for (int i = count() - 1; i >= 0; --i) {
            weight_gradient(i, into[2 * i], into[2 * i + 1],
                            {begin, last, 0, units_[i + 1]});
            if (i > 0) Carry(pass, i, {begin, last, 0, units_[i]});
          }
        });
    for (int64_t block = 1; block < blocks; ++block) {
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
    const std::vector<SparseLayer>& layers = pass.layers;
    const int64_t examples = pass.examples;
    Tensor* dx;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, TensorShape({examples, units_[0]}), &dx));
    const auto leave = [&](int64_t begin, int64_t end) {
      FromColumns(pass.deltas, examples, units_[0], pass.stride, begin, end,
                  dx->flat<float>().data());
    };
    if (examples >= kManyExamples) {
      ShareExamples(context, examples, CostOf(layers),
                    [&](int64_t, int64_t begin, int64_t end) {
                      Start(pass, begin, end);
                      for (int i = count() - 1; i >= 0; --i) {
                        Carry(pass, i, {begin, end, 0, units_[i]});
                      }
                      leave(begin, end);
                    });
      return;
    }
    const int64_t end = RoundUp(examples);
    Start(pass, 0, end);
    for (int i = count() - 1; i >= 0; --i) {
      Share(context, units_[i], RowCost(layers[i], units_[i], examples),
            [&](int64_t first, int64_t last) {
              Carry(pass, i, {0, end, first, last});
            });
    }
    leave(0, end);
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
