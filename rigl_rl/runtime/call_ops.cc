// A function that runs in the thread that calls it.
//
// TensorFlow hands every function to threads of its pool, and waits for them.
// Waking one takes as long as a small network's layers.

#include <atomic>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "team.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_handle.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tsl/platform/denormal.h"

namespace rigl_rl {
namespace {

namespace tf = ::tensorflow;
using tf::OpKernelConstruction;
using tf::OpKernelContext;
using tf::Tensor;

// A function that TensorFlow has made ready to run, for what it has captured.
// That takes megabytes, so they are released with its captures: the kernel that
// calls it stays in TensorFlow's cache as long as the process. They are
// released with the kernel if it goes first, because its library may follow it.
class Instance {
 public:
  using Library = tf::FunctionLibraryRuntime;

  Instance(Library* library, Library::Handle handle)
      : handle_(handle), library_(library) {}

  Library::Handle handle() const { return handle_; }
  bool IsOf(const Library* library) {
    tf::mutex_lock lock(mutex_);
    return library == library_;
  }
  void Release() {
    tf::mutex_lock lock(mutex_);
    if (library_ != nullptr) library_->ReleaseHandle(handle_).IgnoreError();
    library_ = nullptr;
  }

 private:
  const Library::Handle handle_;
  tf::mutex mutex_;
  Library* library_;  // Null once it is released.
};

// What a function has captured: handles of variables. They are kept, because
// passing them in every call takes as long as the call.
class Captures : public tf::ResourceBase {
 public:
  explicit Captures(std::vector<Tensor> tensors)
      : tensors_(std::move(tensors)) {}
  ~Captures() override {
    for (const auto& instance : instances_) instance->Release();
  }

  const std::vector<Tensor>& tensors() const { return tensors_; }
  // Releases an instance when this goes.
  void Keep(std::shared_ptr<Instance> instance) {
    tf::mutex_lock lock(mutex_);
    instances_.push_back(std::move(instance));
  }
  std::string DebugString() const override {
    return tf::strings::StrCat("what a function captured: ", tensors_.size());
  }

 private:
  const std::vector<Tensor> tensors_;
  tf::mutex mutex_;
  std::vector<std::shared_ptr<Instance>> instances_;
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
    OP_REQUIRES_OK(context, context->GetAttr("in_turn", &in_turn_));
    OP_REQUIRES_OK(context, context->GetAttr("threads", &threads_));
  }
  ~CallOp() override {
    for (const auto& instance : instances_) instance.second->Release();
  }

  void Compute(OpKernelContext* context) override {
    tf::FunctionLibraryRuntime* library = context->function_library();
    OP_REQUIRES(context, library != nullptr,
                tf::errors::Internal("There is no function library."));
    tf::FunctionLibraryRuntime::Options options;
    options.cancellation_manager = context->cancellation_manager();
    options.step_container = context->step_container();
    options.rendezvous = context->rendezvous();
    options.stats_collector = context->stats_collector();
    auto captures = context->input(0)
                        .scalar<tf::ResourceHandle>()()
                        .GetResource<Captures>();
    OP_REQUIRES_OK(context, captures.status());
    tf::FunctionLibraryRuntime::Handle handle;
    OP_REQUIRES_OK(context, Instantiate(library, *captures, &handle));
    std::vector<Tensor> arguments;
    for (int i = 1; i < context->num_inputs(); ++i) {
      arguments.push_back(context->input(i));
    }
    const std::vector<Tensor>& captured = (*captures)->tensors();
    arguments.insert(arguments.end(), captured.begin(), captured.end());
    std::vector<Tensor> results;
    const Team::Lead lead(threads_);
    Team* const team = lead.team();
    // As in TensorFlow's own threads.
    const tsl::port::ScopedFlushDenormal flush;
    std::function<void(std::function<void()>)> runner;
    options.runner = &runner;
    if (in_turn_) {
      runner = [](const std::function<void()>& work) { work(); };
      options.run_all_kernels_inline = true;
    } else if (team != nullptr) {
      runner = [team](std::function<void()> work) {
        team->Schedule([work = std::move(work)] {
          const tsl::port::ScopedFlushDenormal flush;
          work();
        });
      };
    } else {
      runner = *context->runner();
    }
    if (in_turn_ || team == nullptr) {
      OP_REQUIRES_OK(context,
                     library->RunSync(options, handle, arguments, &results));
    } else {
      std::atomic<bool> done{false};
      tf::Status status;
      library->Run(options, handle, arguments, &results,
                   [&done, &status](const tf::Status& result) {
                     status = result;
                     done.store(true, std::memory_order_release);
                   });
      team->WorkUntil(done);
      OP_REQUIRES_OK(context, status);
    }
    for (int i = 0; i < context->num_outputs(); ++i) {
      context->set_output(i, std::move(results[i]));
    }
  }

 private:
  // The handle of the function with these captures, made at their first call.
  tf::Status Instantiate(tf::FunctionLibraryRuntime* library,
                         Captures* captures,
                         tf::FunctionLibraryRuntime::Handle* handle) {
    tf::mutex_lock lock(mutex_);
    auto& instance = instances_[captures];
    if (instance == nullptr || !instance->IsOf(library)) {
      tf::FunctionLibraryRuntime::InstantiateOptions options;
      // Without the bookkeeping of which operations are ready.
      if (in_turn_) options.executor_type = "SINGLE_THREADED_EXECUTOR";
      TF_RETURN_IF_ERROR(library->Instantiate(function_.name(),
                                              tf::AttrSlice(&function_.attr()),
                                              options, handle));
      instance = std::make_shared<Instance>(library, *handle);
      captures->Keep(instance);
    }
    *handle = instance->handle();
    return tf::OkStatus();
  }

  tf::NameAttrList function_;
  bool in_turn_;
  int threads_;
  tf::mutex mutex_;
  std::unordered_map<const Captures*, std::shared_ptr<Instance>> instances_;
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
    .Attr("in_turn: bool = true")
    .Attr("threads: int >= 1 = 1")
    .SetIsStateful()
    .SetShapeFn([](tf::shape_inference::InferenceContext* c) {
      for (int i = 0; i < c->num_outputs(); ++i) {
        c->set_output(i, c->UnknownShape());
      }
      return tf::OkStatus();
    })
    .Doc(R"doc(
Calls a function in the thread that asks for it, with others that help.

captures: of RiglCaptures, the last arguments.
f: if it runs in turn, without control flow and calls of other functions.
in_turn: whether this thread runs all operations, one after the other. Others
  take only shares of those of this library.
threads: how many there are, this one included. Where another thread calls such
  a function meanwhile, TensorFlow's threads run it.
)doc");
REGISTER_KERNEL_BUILDER(Name("RiglCall").Device(tf::DEVICE_CPU), CallOp);

}  // namespace
}  // namespace rigl_rl
