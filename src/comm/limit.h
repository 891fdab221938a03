// SPDX-License-Identifier: Apache-2.0
// A limit for calls into a library that wait for other ranks and cannot be polled.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace moebench {

/// While it lives, its maker may be stuck inside `call`: after `limit_s` the program says who waited and ends
/// all ranks with exit code 124. Nothing can be thrown out of such a call, so what the report holds by then
/// is all.
class Limit {
 public:
  /// `end` ends all ranks with the code it is given, waiting for none; it is called from a thread of its own.
  Limit(double limit_s, int rank, std::string call, std::function<void(int code)> end);
  ~Limit();
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  bool in_time_ = false;
  std::thread watch_;
};

}  // namespace moebench
