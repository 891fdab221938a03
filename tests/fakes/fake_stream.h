// SPDX-License-Identifier: Apache-2.0
// A thread that does pieces of work in order: a device's stream without a device.
#pragma once

#include <driver_types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <queue>
#include <thread>

namespace moebench::fakes {

class Stream {
 public:
  Stream() : thread_([this] { run(); }) {}
  ~Stream();
  void give(std::function<void()> work);
  std::uint64_t given() const { return given_; }
  std::uint64_t done() const { return done_; }
  /// The stream behind a handle.
  static Stream* of(cudaStream_t handle) { return reinterpret_cast<Stream*>(handle); }

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable woken_;
  std::queue<std::function<void()>> work_;
  bool over_ = false;
  std::atomic<std::uint64_t> given_ = 0, done_ = 0;
  std::thread thread_;
};

/// A millisecond, for loops that wait.
void nap();

}  // namespace moebench::fakes
