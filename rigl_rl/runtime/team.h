// Threads that help the one that calls a train step.
//
// Waking a thread takes longer than most of the work it could do. So a team's
// threads stay awake during a step, and for a moment after it.

#ifndef RIGL_RL_RUNTIME_TEAM_H_
#define RIGL_RL_RUNTIME_TEAM_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

namespace rigl_rl {

class Team {
 public:
  // Does parts [begin, end) of some work.
  using Work = std::function<void(int64_t begin, int64_t end)>;
  using Task = std::function<void()>;

  // While it lives, the thread that made it leads the team, unless another
  // does.
  class Lead {
   public:
    // `threads` counts this one.
    explicit Lead(int threads);
    ~Lead();
    Lead(const Lead&) = delete;
    Lead& operator=(const Lead&) = delete;

    // Null if another thread leads it.
    Team* team() const { return team_; }

   private:
    Team* team_ = nullptr;
  };

  // The team that this thread leads or helps; or null.
  static Team* OfThisThread();

  // The leader, and the helpers that it wants.
  int threads() const { return threads_.load(); }

  // Does all of [0, total), in at most `parts` parts. The calling thread does
  // what no other has begun, and waits for no sleeping thread.
  void Share(int64_t total, int64_t parts, const Work& work);

  // Hands a task to any thread of the team.
  void Schedule(Task task);
  // Does available work until `done`.
  void WorkUntil(const std::atomic<bool>& done);

 private:
  struct Shares {
    // Does parts until all have been begun.
    void Take();

    int64_t total;
    int64_t parts;
    const Work& work;
    std::atomic<int64_t> next;
  };

  // What helper i does, counted from 1.
  void Help(int i);
  bool NeedsHelper(int i) const { return i < threads_.load(); }
  // Does something, if there is anything to do.
  bool DoSomething();
  bool TakeShares();
  bool DoTask();

  std::atomic<bool> is_led_{false};
  std::atomic<int> threads_{0};  // 0 without a leader.
  int helpers_ = 0;
  std::atomic<Shares*> shares_{nullptr};
  std::atomic<int> sharing_{0};  // Threads that may look at `shares_`.

  std::atomic<int> scheduled_{0};  // Of `tasks_`.
  std::atomic_flag tasks_lock_ = ATOMIC_FLAG_INIT;
  std::deque<Task> tasks_;

  std::atomic<int> asleep_{0};
  std::mutex mutex_;
  std::condition_variable awake_;
};

}  // namespace rigl_rl

#endif  // RIGL_RL_RUNTIME_TEAM_H_
