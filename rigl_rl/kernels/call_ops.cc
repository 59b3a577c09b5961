// A function that runs in the thread that calls it.
//
// TensorFlow hands every function to a thread of its pool, and waits for it. To
// wake the one and then the other takes as long as a small network's layers.

#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_handle.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace rigl_rl {
namespace {

namespace tf = ::tensorflow;
using tf::OpKernelConstruction;
using tf::OpKernelContext;
using tf::Tensor;

// What a function has captured: variables' handles. Kept, since to pass them at
// every call takes as long as the call.
class Captures : public tf::ResourceBase {
 public:
  explicit Captures(std::vector<Tensor> tensors)
      : tensors_(std::move(tensors)) {}
  const std::vector<Tensor>& tensors() const { return tensors_; }
  std::string DebugString() const override {
    return tf::strings::StrCat("what a function captured: ", tensors_.size());
  }

 private:
  const std::vector<Tensor> tensors_;
};

class CapturesOp : public tf::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    std::vector<Tensor> tensors;
    for (int i = 0; i < context->num_inputs(); ++i) {
      tensors.push_back(context->input(i));
    }
    Tensor* handle;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &handle));
    handle->scalar<tf::ResourceHandle>()() =
        tf::ResourceHandle::MakeRefCountingHandle(
            new Captures(std::move(tensors)), context->device()->name());
  }
};

class CallOp : public tf::OpKernel {
 public:
  explicit CallOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("f", &function_));
  }

  void Compute(OpKernelContext* context) override {
    tf::FunctionLibraryRuntime* library = context->function_library();
    OP_REQUIRES(context, library != nullptr,
                tf::errors::Internal("There is no function library."));
    tf::FunctionLibraryRuntime::Handle handle;
    OP_REQUIRES_OK(context, Instantiate(library, &handle));

    tf::FunctionLibraryRuntime::Options options;
    std::function<void(std::function<void()>)> runner =
        [](const std::function<void()>& work) { work(); };
    options.runner = &runner;
    options.run_all_kernels_inline = true;
    options.cancellation_manager = context->cancellation_manager();
    options.step_container = context->step_container();
    options.rendezvous = context->rendezvous();
    options.stats_collector = context->stats_collector();
    auto captures = context->input(0)
                        .scalar<tf::ResourceHandle>()()
                        .GetResource<Captures>();
    OP_REQUIRES_OK(context, captures.status());
    std::vector<Tensor> arguments;
    for (int i = 1; i < context->num_inputs(); ++i) {
      arguments.push_back(context->input(i));
    }
    const std::vector<Tensor>& captured = (*captures)->tensors();
    arguments.insert(arguments.end(), captured.begin(), captured.end());
    std::vector<Tensor> results;
    OP_REQUIRES_OK(context,
                   library->RunSync(options, handle, arguments, &results));
    for (int i = 0; i < context->num_outputs(); ++i) {
      context->set_output(i, std::move(results[i]));
    }
  }

 private:
  // The function's handle, made at the first call.
  tf::Status Instantiate(tf::FunctionLibraryRuntime* library,
                         tf::FunctionLibraryRuntime::Handle* handle) {
    tf::mutex_lock lock(mutex_);
    if (library != library_) {
      tf::FunctionLibraryRuntime::InstantiateOptions options;
      // Its operations in turn, without the bookkeeping of what is ready.
      options.executor_type = "SINGLE_THREADED_EXECUTOR";
      TF_RETURN_IF_ERROR(library->Instantiate(function_.name(),
                                              tf::AttrSlice(&function_.attr()),
                                              options, &handle_));
      library_ = library;
    }
    *handle = handle_;
    return tf::OkStatus();
  }

  tf::NameAttrList function_;
  tf::mutex mutex_;
  tf::FunctionLibraryRuntime* library_ = nullptr;
  tf::FunctionLibraryRuntime::Handle handle_;
};

REGISTER_OP("RiglCaptures")
    .Input("tensors: T")
    .Output("captures: resource")
    .Attr("T: list(type) >= 0")
    .SetIsStateful()
    .SetShapeFn([](tf::shape_inference::InferenceContext* c) {
      c->set_output(0, c->Scalar());
      return tf::OkStatus();
    })
    .Doc("Keeps tensors for RiglCall, for as long as the output lives.");
REGISTER_KERNEL_BUILDER(Name("RiglCaptures").Device(tf::DEVICE_CPU),
                        CapturesOp);

REGISTER_OP("RiglCall")
    .Input("captures: resource")
    .Input("arguments: Tin")
    .Output("results: Tout")
    .Attr("Tin: list(type) >= 0")
    .Attr("Tout: list(type) >= 0")
    .Attr("f: func")
    .SetIsStateful()
    .SetShapeFn([](tf::shape_inference::InferenceContext* c) {
      for (int i = 0; i < c->num_outputs(); ++i) {
        c->set_output(i, c->UnknownShape());
      }
      return tf::OkStatus();
    })
    .Doc(R"doc(
Calls a function in the thread that asks for it, its operations in turn.

captures: of RiglCaptures, the last arguments.
f: without control flow, and without calls of other functions.
)doc");
REGISTER_KERNEL_BUILDER(Name("RiglCall").Device(tf::DEVICE_CPU), CallOp);

}  // namespace
}  // namespace rigl_rl
