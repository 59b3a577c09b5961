// A function that runs in the thread that calls it.
//
// TensorFlow hands every function to a thread of its pool, and waits for it. To
// wake the one and then the other takes as long as a small network's layers.

#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace rigl_rl {
namespace {

namespace tf = ::tensorflow;
using tf::OpKernelConstruction;
using tf::OpKernelContext;
using tf::Tensor;

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
    std::vector<Tensor> arguments;
    arguments.reserve(context->num_inputs());
    for (int i = 0; i < context->num_inputs(); ++i) {
      arguments.push_back(context->input(i));
    }
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

REGISTER_OP("RiglCall")
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

f: without control flow, and without calls of other functions.
)doc");
REGISTER_KERNEL_BUILDER(Name("RiglCall").Device(tf::DEVICE_CPU), CallOp);

}  // namespace
}  // namespace rigl_rl
