// SPDX-License-Identifier: Apache-2.0
// Threads that share one loop at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace moebench {

/// How long a thread of a pool looks for work before it sleeps, where each thread has a core to itself: longer than
/// what lies between two loops of an iteration, and than waking a sleeping core takes.
inline constexpr std::chrono::microseconds kSpinBetweenLoops{1000};

/// `threads` workers, the caller among them. One loop runs at a time; loops do not nest.
class ThreadPool {
 public:
  /// `spin`: how long a worker looks for the next loop, and the caller for the end of one, before it sleeps. Zero
  /// where threads outnumber cores: a thread that spins would keep the core from one that has work.
  explicit ThreadPool(int threads, std::chrono::microseconds spin = {});
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
  /// Returns when generation_ is no longer `seen`.
  void await_loop(std::uint64_t seen);
  void await_workers();

  const std::chrono::microseconds spin_;
  std::mutex
      mutex_;  ///< of going to sleep and of waking; a loop that finds all threads awake takes it for an instant
  std::condition_variable start_, finish_;
  Loop loop_;  ///< written before generation_ is raised, read after it was seen to rise
  std::atomic<std::uint64_t> generation_ = 0;
  std::atomic<int> busy_ = 0;
  std::atomic<bool> stop_ = false;
  int sleeping_ = 0;            ///< workers; under mutex_
  bool caller_sleeps_ = false;  ///< under mutex_
  std::vector<std::thread> workers_;
};

/// Cores this process may run on; their numbers, if the system reports them.
int usable_cores();
std::vector<int> usable_core_numbers();

}  // namespace moebench
