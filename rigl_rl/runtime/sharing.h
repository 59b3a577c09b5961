// How operations share work among threads.

#ifndef RIGL_RL_RUNTIME_SHARING_H_
#define RIGL_RL_RUNTIME_SHARING_H_

#include <cstdint>

#include "team.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"
#include "tsl/platform/denormal.h"

namespace rigl_rl {

// Work, in cycles, that a team shares: its threads are awake.
constexpr int64_t kSharedWorkOfTeam = 1 << 14;
// Work, in cycles, that TensorFlow's threads share: less takes about as long as
// waking one.
constexpr int64_t kSharedWork = 1 << 20;
// Parts per thread: a thread may be busy, or late.
constexpr int64_t kPartsOfThread = 2;

// Calls `work(begin, end)` for all of [0, total), in threads if that pays.
// `cost` estimates the cycles of one.
inline void Share(tensorflow::OpKernelContext* context, int64_t total,
                  int64_t cost, const Team::Work& work) {
  Team* const team = Team::OfThisThread();
  const int64_t worth = team == nullptr ? kSharedWork : kSharedWorkOfTeam;
  if (total * cost < worth) return work(0, total);
  // All threads treat denormals as this one does.
  const auto denormals = tsl::port::GetDenormalState();
  const auto work_alike = [&](int64_t begin, int64_t end) {
    const tsl::port::ScopedRestoreFlushDenormalState restore;
    tsl::port::SetDenormalState(denormals);
    work(begin, end);
  };
  if (team != nullptr) {
    return team->Share(total, kPartsOfThread * team->threads(), work_alike);
  }
  const auto& threads = *context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(threads.num_threads, threads.workers, total, cost,
                    work_alike);
}

}  // namespace rigl_rl

#endif  // RIGL_RL_RUNTIME_SHARING_H_
