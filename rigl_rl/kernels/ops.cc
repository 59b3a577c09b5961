// The operations as TensorFlow sees them. They work on resource variables in
// place.

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "../runtime/sharing.h"
#include "kernels.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensors.h"
#include "variables.h"

namespace rigl_rl {
namespace {

using tf::shape_inference::ShapeHandle;

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
          context, variables.LockLayer(context, {layer},
                                       {layers_ + layer, 2 * layers_ + layer}));
      const int64_t size = variables.size();
      if (size > room) {
        scratch.reset(new int32_t[size + kScratchMargin]);
        room = size;
      }
      BestKernels().maintain_sparsity(variables.data(0), variables.data(1),
                                      variables.data(2), size, scratch.get());
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
      OP_REQUIRES_OK(context, variables.LockLayer(context, {i}, {count_ + i}));
      Share(context, variables.size(), kCyclesPerValue,
            [&](int64_t begin, int64_t end) {
              BestKernels().soft_update(
                  variables.data(0) + begin, variables.data(1) + begin,
                  end - begin, tau.scalar<float>()());
            });
    }
  }

 private:
  static constexpr int64_t kCyclesPerValue = 1;

  int count_;
};

class AdamOp : public tf::OpKernel {
 public:
  explicit AdamOp(tf::OpKernelConstruction* context) : OpKernel(context) {
    std::vector<int32_t> masked;
    OP_REQUIRES_OK(context, context->GetAttr("N", &count_));
    OP_REQUIRES_OK(context, context->GetAttr("masked", &masked));
    OP_REQUIRES_OK(context, context->GetAttr("mask_kernels", &mask_kernels_));
    OP_REQUIRES_OK(context, context->GetAttr("M", &masks_));
    OP_REQUIRES(context, static_cast<int>(masked.size()) == masks_,
                tf::errors::InvalidArgument("There are ", masks_, " masks of ",
                                            masked.size(), " variables."));
    mask_of_.assign(count_, -1);
    for (int i = 0; i < masks_; ++i) {
      OP_REQUIRES(
          context,
          masked[i] >= 0 && masked[i] < count_ && mask_of_[masked[i]] < 0,
          tf::errors::InvalidArgument("Mask ", i, " is of variable ",
                                      masked[i], ", of ", count_, "."));
      mask_of_[masked[i]] = i;
    }
  }

  void Compute(OpKernelContext* context) override {
    const int first_gradient = 3 * count_ + masks_;
    const int first_decay = first_gradient + count_;
    const int first_scalar = first_decay + count_;
    for (int i = first_decay; i < context->num_inputs(); ++i) {
      const tf::TensorShape& shape = context->input(i).shape();
      OP_REQUIRES(context, tf::TensorShapeUtils::IsScalar(shape),
                  tf::errors::InvalidArgument("Input ", i,
                                              " must be a scalar, not ",
                                              shape.DebugString(), "."));
    }
    const auto scalar = [&](int i) {
      return context->input(i).scalar<float>()();
    };
    const AdamStep step = MakeAdamStep(
        scalar(first_scalar), scalar(first_scalar + 1),
        scalar(first_scalar + 2), scalar(first_scalar + 3),
        context->input(first_scalar + 4).scalar<int64_t>()());

    std::vector<int> read(masks_), written(3 * count_);
    std::iota(read.begin(), read.end(), 3 * count_);
    std::iota(written.begin(), written.end(), 0);
    LockedVariables variables;
    OP_REQUIRES_OK(context, variables.Lock(context, read, written));
    std::vector<Part> parts(count_);
    int64_t total = 0;
    for (int i = 0; i < count_; ++i) {
      Part& part = parts[i];
      const tf::Tensor& gradient = context->input(first_gradient + i);
      std::vector<int> places = {masks_ + i, masks_ + count_ + i,
                                 masks_ + 2 * count_ + i};
      if (mask_of_[i] >= 0) places.push_back(mask_of_[i]);
      for (int place : places) {
        OP_REQUIRES_OK(context, variables.CheckType(place, tf::DT_FLOAT));
        OP_REQUIRES_OK(context,
                       variables.CheckShape(place, gradient.shape()));
      }
      part.weight_decay = scalar(first_decay + i);
      part.gradient = gradient.flat<float>().data();
      part.variable = variables.data(places[0]);
      part.m = variables.data(places[1]);
      part.v = variables.data(places[2]);
      part.mask = mask_of_[i] < 0 ? nullptr : variables.data(places[3]);
      total += gradient.NumElements();
      part.end = total;
    }

    Share(context, (total + kBlock - 1) / kBlock, kBlock * kCyclesPerValue,
          [&](int64_t first_block, int64_t end_block) {
            Take(step, parts, first_block * kBlock,
                 std::min(end_block * kBlock, total));
          });
  }

 private:
  // One variable of those that are treated as one after the other.
  struct Part {
    float weight_decay;
    const float* gradient;
    const float* mask;  // Or null.
    float* variable;
    float* m;
    float* v;
    int64_t end;  // In values, from the first variable's first.
  };

  static constexpr int64_t kBlock = 1024;
  static constexpr int64_t kCyclesPerValue = 3;

  // Takes the step on values [begin, end) of all variables.
  void Take(const AdamStep& step, const std::vector<Part>& parts,
            int64_t begin, int64_t end) const {
    auto part = std::upper_bound(
        parts.begin(), parts.end(), begin,
        [](int64_t value, const Part& part) { return value < part.end; });
    int64_t start = part == parts.begin() ? 0 : (part - 1)->end;
    while (begin < end) {
      const int64_t from = begin - start;
      const int64_t size = std::min(end, part->end) - begin;
      Masked masked = Masked::kNothing;
      const float* mask = nullptr;
      if (part->mask != nullptr) {
        masked = mask_kernels_ ? Masked::kVariable : Masked::kGradient;
        mask = part->mask + from;
      }
      BestKernels().take_adam_step(step, part->weight_decay, masked,
                                   part->gradient + from, mask,
                                   part->variable + from, part->m + from,
                                   part->v + from, size);
      begin += size;
      start = part->end;
      ++part;
    }
  }

  int count_;
  int masks_;
  std::vector<int> mask_of_;  // By variable, or -1.
  bool mask_kernels_;
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

REGISTER_OP("RiglAdam")
    .Attr("N: int >= 1")
    .Attr("M: int >= 0")
    .Attr("masked: list(int)")
    .Attr("mask_kernels: bool = false")
    .Input("var: N * resource")
    .Input("m: N * resource")
    .Input("v: N * resource")
    .Input("mask: M * resource")
    .Input("gradient: N * float")
    .Input("weight_decay: N * float")
    .Input("learning_rate: float")
    .Input("beta1: float")
    .Input("beta2: float")
    .Input("epsilon: float")
    .Input("iterations: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      int count, masks;
      std::vector<int32_t> masked;
      TF_RETURN_IF_ERROR(c->GetAttr("N", &count));
      TF_RETURN_IF_ERROR(c->GetAttr("M", &masks));
      TF_RETURN_IF_ERROR(c->GetAttr("masked", &masked));
      std::vector<ShapeHandle> shapes;
      for (int i = 0; i < count; ++i) {
        ShapeHandle shape = c->input(3 * count + masks + i);
        for (int list = 0; list < 3; ++list) {
          TF_RETURN_IF_ERROR(
              CheckHandle(c, list * count + i, tf::DT_FLOAT, &shape));
        }
        shapes.push_back(shape);
      }
      for (int i = 0; i < masks && i < static_cast<int>(masked.size()); ++i) {
        ShapeHandle shape = c->UnknownShape();
        if (masked[i] >= 0 && masked[i] < count) shape = shapes[masked[i]];
        TF_RETURN_IF_ERROR(
            CheckHandle(c, 3 * count + i, tf::DT_FLOAT, &shape));
      }
      ShapeHandle scalar;
      for (int i = 1; i <= 5 + count; ++i) {
        TF_RETURN_IF_ERROR(
            c->WithRank(c->input(c->num_inputs() - i), 0, &scalar));
      }
      return tf::OkStatus();
    })
    .Doc(R"(
Takes a step of Adam (Kingma & Ba, 2015), as ResourceApplyAdam does.

var: variables.
m: their first moments.
v: their second moments.
mask: masks of some of the variables.
gradient: gradients, of the variables' shapes.
weight_decay: scalars, by how much of a variable its gradient grows, masks or
  not.
learning_rate: scalar.
beta1: scalar.
beta2: scalar.
epsilon: scalar, added to the root of the second moment.
iterations: scalar, the steps taken before.
masked: which variable each mask is of.
mask_kernels: whether these variables are multiplied by their masks, after the
  step, instead of their gradients, before it.
)");

REGISTER_KERNEL_BUILDER(
    Name("RiglMaintainSparsity").Device(tf::DEVICE_CPU), MaintainSparsityOp);
REGISTER_KERNEL_BUILDER(Name("RiglSoftUpdate").Device(tf::DEVICE_CPU),
                        SoftUpdateOp);
REGISTER_KERNEL_BUILDER(Name("RiglAdam").Device(tf::DEVICE_CPU), AdamOp);

}  // namespace
}  // namespace rigl_rl
