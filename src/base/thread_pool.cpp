// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>

namespace moebench {

ThreadPool::ThreadPool(int threads) {
  for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this, worker] { work(worker); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
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
  {
    const std::lock_guard lock(mutex_);
    loop_ = loop;
    busy_ = static_cast<int>(workers_.size());
    ++generation_;
  }
  start_.notify_all();
  share(loop, 0);
  std::unique_lock lock(mutex_);
  finish_.wait(lock, [this] { return busy_ == 0; });
}

void ThreadPool::work(int worker) {
  std::uint64_t seen = 0;
  for (;;) {
    Loop loop;
    {
      std::unique_lock lock(mutex_);
      start_.wait(lock, [&] { return stop_ || generation_ != seen; });
      if (stop_) return;
      seen = generation_;
      loop = loop_;
    }
    share(loop, worker);
    const std::lock_guard lock(mutex_);
    if (--busy_ == 0) finish_.notify_one();
  }
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace moebench
