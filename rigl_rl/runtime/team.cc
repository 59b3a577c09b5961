#include "team.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

namespace rigl_rl {
namespace {

using Clock = std::chrono::steady_clock;

// How long a helper stays awake after a step: longer than fast environments
// take until the next one.
constexpr auto kPatience = std::chrono::milliseconds(2);
// After so many looks for work, a thread yields its processor: there may be
// more threads than processors.
constexpr int kLooks = 64;
// If another thread then had it for this long, a helper stays away for a while:
// its waiting would take time from a thread that works.
constexpr auto kOthersTurn = std::chrono::microseconds(500);
constexpr auto kRest = std::chrono::milliseconds(20);

thread_local Team* of_this_thread = nullptr;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Waits without going to sleep.
class Wait {
 public:
  void ForALittle() {
    Pause();
    if (++looks_ % kLooks == 0) std::this_thread::yield();
  }

 private:
  int looks_ = 0;
};

// Never destroyed: helpers live as long as the process.
Team& TheTeam() {
  static Team* const team = new Team;
  return *team;
}

// Held for less time than falling asleep takes.
class SpinLock {
 public:
  explicit SpinLock(std::atomic_flag* flag) : flag_(flag) {
    Wait wait;
    while (flag_->test_and_set(std::memory_order_acquire)) wait.ForALittle();
  }
  ~SpinLock() { flag_->clear(std::memory_order_release); }

 private:
  std::atomic_flag* const flag_;
};

}  // namespace

Team* Team::OfThisThread() { return of_this_thread; }

Team::Lead::Lead(int threads) {
  Team& team = TheTeam();
  if (team.is_led_.exchange(true)) return;
  team_ = of_this_thread = &team;
  team.threads_.store(threads);
  while (team.helpers_ < threads - 1) {
    std::thread(&Team::Help, &team, ++team.helpers_).detach();
  }
  if (threads > 1 && team.asleep_.load() > 0) {
    std::lock_guard<std::mutex> lock(team.mutex_);
    team.awake_.notify_all();
  }
}

Team::Lead::~Lead() {
  if (team_ == nullptr) return;
  of_this_thread = nullptr;
  team_->threads_.store(0);
  team_->is_led_.store(false);
}

void Team::Share(int64_t total, int64_t parts, const Work& work) {
  Shares shares{total, std::min(total, parts), work, {0}};
  Shares* none = nullptr;
  // Otherwise the others are busy with the work of another thread.
  const bool has_place = shares_.compare_exchange_strong(none, &shares);
  shares.Take();
  if (!has_place) return;
  shares_.store(nullptr);
  // A helper that has not seen them yet never will.
  Wait wait;
  while (sharing_.load() > 0) wait.ForALittle();
}

void Team::Shares::Take() {
  for (int64_t i; (i = next++) < parts;) {
    work(i * total / parts, (i + 1) * total / parts);
  }
}

bool Team::TakeShares() {
  if (shares_.load(std::memory_order_relaxed) == nullptr) return false;
  ++sharing_;
  if (Shares* shares = shares_.load()) shares->Take();
  --sharing_;
  return true;
}

void Team::Schedule(Task task) {
  SpinLock lock(&tasks_lock_);
  tasks_.push_back(std::move(task));
  ++scheduled_;
}

bool Team::DoTask() {
  if (scheduled_.load(std::memory_order_relaxed) == 0) return false;
  Task task;
  {
    SpinLock lock(&tasks_lock_);
    if (tasks_.empty()) return false;
    task = std::move(tasks_.front());
    tasks_.pop_front();
    --scheduled_;
  }
  task();
  return true;
}

bool Team::DoSomething() { return DoTask() || TakeShares(); }

void Team::WorkUntil(const std::atomic<bool>& done) {
  Wait wait;
  while (!done.load(std::memory_order_acquire)) {
    if (!DoSomething()) wait.ForALittle();
  }
}

void Team::Help(int i) {
  of_this_thread = this;
  auto last = Clock::now();  // When it was needed.
  while (true) {
    const auto begin = Clock::now();
    bool has_worked = false;
    for (int looks = 0; looks < kLooks && !has_worked; ++looks) {
      has_worked = NeedsHelper(i) && DoSomething();
      if (!has_worked) Pause();
    }
    if (has_worked) continue;
    std::this_thread::yield();
    const auto end = Clock::now();
    if (end - begin > kOthersTurn) std::this_thread::sleep_for(kRest);
    if (NeedsHelper(i)) {
      last = end;
    } else if (end - last > kPatience) {
      std::unique_lock<std::mutex> lock(mutex_);
      ++asleep_;
      awake_.wait(lock, [this, i] { return NeedsHelper(i); });
      --asleep_;
      last = Clock::now();
    }
  }
}

}  // namespace rigl_rl
