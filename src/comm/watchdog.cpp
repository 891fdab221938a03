// SPDX-License-Identifier: Apache-2.0
#include "comm/watchdog.h"

#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "base/text.h"
#include "comm/backoff.h"

namespace moebench {
namespace {

[[noreturn]] void end_all_ranks(double limit_s, int rank, const std::string& call,
                                const std::function<void(int)>& end) {
  const std::string text =
      cat("moebench: rank ", rank, " waited ", limit_s, " s in ", call, " for the other ranks\n");
  std::fputs(text.c_str(), stderr);
  end(static_cast<int>(ExitCode::timeout));
  std::_Exit(static_cast<int>(ExitCode::timeout));
}

}  // namespace

Watchdog::Watchdog(double limit_s, int rank, std::string call, std::function<void(int)> end)
    : thread_([this, limit_s, rank, call = std::move(call), end = std::move(end)] {
        constexpr std::chrono::milliseconds kPace{100};
        Deadline deadline(limit_s);
        std::unique_lock lock(mutex_);
        while (!returned_.wait_for(lock, kPace, [this] { return in_time_; }))
          if (deadline.passed()) end_all_ranks(limit_s, rank, call, end);
      }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    in_time_ = true;
  }
  returned_.notify_one();
  thread_.join();
}

}  // namespace moebench
