// What the operations on a chain of sparse layers share: how they read layers,
// and how threads share the work on a minibatch.

#ifndef RIGL_RL_KERNELS_SPARSE_CHAIN_H_
#define RIGL_RL_KERNELS_SPARSE_CHAIN_H_

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "../runtime/sharing.h"
#include "kernels.h"
#include "tensors.h"

namespace rigl_rl {

// The most examples of a block, measured: so that much of a layer's activations
// are in the first cache, and a weight is loaded for as many examples as fill
// the registers; half as many in wide layers, whose activations would else
// exceed the second cache.
constexpr int64_t kBlock = 64;
constexpr int64_t kWide = 512;
// The most examples that are not divided.
constexpr int64_t kUndivided = 32;
// The examples whose gradients of weights are summed in one place.
constexpr int64_t kSummed = 128;

// The layout of activations: blocks of examples follow each other, each with
// all rows side by side. So a thread's activations are contiguous. It does not
// depend on the number of threads, so neither do sums. Threads share blocks, or
// rows where there is only one block.
struct Layout {
  // `widest` is the most inputs or outputs of a layer.
  Layout(int64_t examples, int64_t widest)
      : examples(examples),
        stride(RoundUp(examples <= kUndivided
                           ? examples
                           : std::min(widest > kWide ? kBlock / 2 : kBlock,
                                      (examples + 1) / 2))),
        blocks(examples == 0 ? 0 : (examples + stride - 1) / stride) {}

  int64_t ExamplesOf(int64_t block) const {
    return std::min(stride, examples - block * stride);
  }
  // All examples of a block, on some rows.
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

// Which inputs of the gradients' operations `saved` and the first values are.
constexpr int kSaved = 1;
constexpr int kValues = 2;

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
      SparseLayer layer;
      const int64_t size = units_[i] * units_[i + 1];
      if (structures[i].NumElements() == 0) {
        TF_RETURN_IF_ERROR(CheckSize("values", values[i], size));
        layer.structure = {units_[i], units_[i + 1], size};
      } else {
        TF_RETURN_IF_ERROR(GetStructure(structures[i], units_[i], units_[i + 1],
                                        values[i].NumElements(),
                                        &layer.structure));
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

  // Calls `enter`, the steps and `leave` for each block. A thread takes
  // `together` blocks, one after the other.
  static void Walk(OpKernelContext* context, const Layout& layout,
                   int64_t together, const WorkOnBlock& enter,
                   const std::vector<Step>& steps, const WorkOnBlock& leave) {
    if (layout.blocks == 0) return;
    // A weight takes about two cycles per vector of examples.
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
    Share(context, (layout.blocks + together - 1) / together,
          2 * vectors * weights * together, [&](int64_t first, int64_t last) {
            const int64_t end = std::min(last * together, layout.blocks);
            for (int64_t block = first * together; block < end; ++block) {
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

  // What gradients are computed from. `deltas` are the gradients of what
  // `saved` holds, in the same layout.
  struct Backward {
    std::vector<SparseLayer> layers;
    // Each layer's values, sorted by input: a kernel's are so.
    std::vector<Tensor> sorted;
    const float* dy;
    Layout layout{0, 0};
    const float* saved;
    Tensor deltas_tensor;
    float* deltas;
  };

  // Reads what both gradients are computed from. Layers from `lowest` on will
  // be carried through.
  tf::Status Begin(OpKernelContext* context, int lowest,
                   Backward* pass) const {
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
    pass->layout = LayoutOf(dy->dim_size(0));
    const int64_t size = SizeOf(pass->layout);
    TF_RETURN_IF_ERROR(CheckSize("saved", *saved, size));
    pass->saved = saved->flat<float>().data();
    // In place, if nothing else needs the activations: the less memory is
    // touched, the more of the next operation's data stays in a cache. A
    // layer's activations have been read when their gradients are written, but
    // for the slopes of the last.
    std::vector<int> place;
    if (activations_.back() == Activation::kLinear) place.push_back(kSaved);
    TF_RETURN_IF_ERROR(context->forward_input_or_allocate_temp(
        place, tf::DT_FLOAT, TensorShape({size}), &pass->deltas_tensor));
    pass->deltas = pass->deltas_tensor.flat<float>().data();
    pass->sorted.resize(count());
    for (int i = lowest; i < count(); ++i) {
      if (pass->layers[i].structure.is_kernel()) continue;
      TF_RETURN_IF_ERROR(
          SortValues(context, pass->layers[i], &pass->sorted[i]));
    }
    return tf::OkStatus();
  }

  static tf::Status SortValues(OpKernelContext* context,
                               const SparseLayer& layer, Tensor* sorted) {
    const int64_t size = layer.structure.count();
    TF_RETURN_IF_ERROR(
        context->allocate_temp(tf::DT_FLOAT, TensorShape({size}), sorted));
    float* const to = sorted->flat<float>().data();
    Share(context, size, 2, [&](int64_t begin, int64_t end) {
      SortByInput(layer.structure, layer.values, begin, end, to);
    });
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

  // Propagates the gradients of layer i's outputs to its inputs.
  Step Carry(const Backward& pass, int i) const {
    const SparseLayer& layer = pass.layers[i];
    const auto work = [this, &pass, &layer, i](int64_t block, int64_t first,
                                               int64_t last) {
      const Layout& layout = pass.layout;
      const int64_t below = layer.row - units_[i];
      BestKernels().input_gradient(
          layer.structure,
          layer.structure.is_kernel() ? layer.values
                                      : pass.sorted[i].flat<float>().data(),
          i == 0 ? Activation::kLinear : pass.layers[i - 1].activation,
          i == 0 ? nullptr : At(pass.saved, layout, block, below),
          At(pass.deltas, layout, block, layer.row),
          At(pass.deltas, layout, block, below), layout.stride,
          layout.RangeOf(block, first, last));
    };
    return {units_[i], layer.structure.count(), work};
  }

  Layout LayoutOf(int64_t examples) const {
    return {examples, *std::max_element(units_.begin(), units_.end())};
  }

  int64_t SizeOf(const Layout& layout) const {
    return rows_ * layout.stride * layout.blocks;
  }

  std::vector<int64_t> units_;
  std::vector<Activation> activations_;
  int64_t rows_;
};

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_SPARSE_CHAIN_H_
