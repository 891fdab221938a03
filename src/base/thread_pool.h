// SPDX-License-Identifier: Apache-2.0
// Threads that share one loop at a time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace moebench {

/// `threads` workers, the caller among them. One loop runs at a time; loops do not nest.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;  // workers hold its address

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(begin, end) once per worker on consecutive shares of [0, count), each a multiple of `grain`
  /// but the last; returns when all are done. `body` must not throw. The shares depend only on count,
  /// grain and threads().
  template <class Body>
  void parallel_for(std::int64_t count, std::int64_t grain, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run({count, grain, &body, [](const void* self, std::int64_t begin, std::int64_t end) {
           (*static_cast<Plain*>(const_cast<void*>(self)))(begin, end);
         }});
  }

 private:
  struct Loop {
    std::int64_t count = 0, grain = 1;
    const void* body = nullptr;
    void (*call)(const void*, std::int64_t, std::int64_t) = nullptr;
  };
  void run(const Loop& loop);
  void work(int worker);
  void share(const Loop& loop, int worker) const;

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable start_, finish_;
  Loop loop_;
  std::uint64_t generation_ = 0;
  int busy_ = 0;
  bool stop_ = false;
};

/// Cores this process may run on.
int usable_cores();

}  // namespace moebench
