// SPDX-License-Identifier: Apache-2.0
// A watchdog for library calls that wait for other ranks and cannot be polled.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace moebench {

/// While it is in scope, the thread that made it may block inside `call`. After `limit_s` it prints which rank waited
/// and aborts all ranks with exit code 124; results written so far are kept. Nothing can be thrown out of such a call.
class Watchdog {
 public:
  /// `end` aborts all ranks with the given code without waiting; it is called from the watchdog's thread.
  Watchdog(double limit_s, int rank, std::string call, std::function<void(int code)> end);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  bool in_time_ = false;
  std::thread thread_;
};

}  // namespace moebench
