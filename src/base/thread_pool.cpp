// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>

namespace moebench {
namespace {

/// Asks until the answer is yes or the time has passed; the answer.
template <class Ready>
bool spin_until(Ready ready, std::chrono::microseconds limit) {
  constexpr int kLooks = 64;  // between two looks at the clock
  if (ready()) return true;
  if (limit.count() == 0) return false;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  do {
    for (int look = 0; look < kLooks; ++look) {
      if (ready()) return true;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      asm volatile("yield");
#endif
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int threads, std::chrono::microseconds spin) : spin_(spin) {
  for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this, worker] { work(worker); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    ++generation_;
  }
  start_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::share(const Loop& loop, int worker) const {
  const std::int64_t grains = (loop.count + loop.grain - 1) / loop.grain;
  const std::int64_t begin = grains * worker / threads() * loop.grain;
  const std::int64_t end = std::min(loop.count, grains * (worker + 1) / threads() * loop.grain);
  if (begin < end) loop.call(loop.body, begin, end);
}

void ThreadPool::run(const Loop& loop) {
  if (workers_.empty() || loop.count <= loop.grain) {
    if (loop.count > 0) loop.call(loop.body, 0, loop.count);
    return;
  }
  loop_ = loop;
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    generation_.fetch_add(1, std::memory_order_release);
    wake = sleeping_ > 0;
  }
  if (wake) start_.notify_all();
  share(loop, 0);
  await_workers();
}

void ThreadPool::await_workers() {
  const auto done = [this] { return busy_.load(std::memory_order_acquire) == 0; };
  if (spin_until(done, spin_)) return;
  std::unique_lock lock(mutex_);
  caller_sleeps_ = true;
  finish_.wait(lock, done);
  caller_sleeps_ = false;
}

void ThreadPool::await_loop(std::uint64_t seen) {
  const auto begun = [&] { return generation_.load(std::memory_order_acquire) != seen; };
  if (spin_until(begun, spin_)) return;
  std::unique_lock lock(mutex_);
  ++sleeping_;
  start_.wait(lock, begun);
  --sleeping_;
}

void ThreadPool::work(int worker) {
  for (std::uint64_t seen = 0;; ++seen) {
    await_loop(seen);
    if (stop_) return;
    share(loop_, worker);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) > 1) continue;
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      wake = caller_sleeps_;
    }
    if (wake) finish_.notify_one();
  }
}

std::vector<int> usable_core_numbers() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> numbers;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return numbers;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) numbers.push_back(core);
  return numbers;
}

int usable_cores() {
  const auto numbers = usable_core_numbers();
  return numbers.empty() ? std::max(1, static_cast<int>(std::thread::hardware_concurrency()))
                         : static_cast<int>(numbers.size());
}

}  // namespace moebench
