// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi/limit.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr double kLongestWaitS = 1e9;  // 30 years: keeps the deadline inside the clock's range

[[noreturn]] void end_all_ranks(double limit_s, const std::string& call) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const std::string text =
      cat("moebench: rank ", rank, " waited ", limit_s, " s in ", call, " for the other ranks\n");
  std::fputs(text.c_str(), stderr);
  // MPI was promised calls from one thread, and that thread is lost. Should this fail, the launcher sees the
  // exit.
  MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::timeout));
  std::_Exit(static_cast<int>(ExitCode::timeout));
}

}  // namespace

Limit::Limit(double limit_s, std::string call)
    : watch_([this, limit_s, call = std::move(call)] {
        const std::chrono::duration<double> limit(std::min(limit_s, kLongestWaitS));
        const auto deadline = std::chrono::steady_clock::now() +
                              std::chrono::duration_cast<std::chrono::steady_clock::duration>(limit);
        std::unique_lock lock(mutex_);
        if (!returned_.wait_until(lock, deadline, [this] { return in_time_; })) end_all_ranks(limit_s, call);
      }) {}

Limit::~Limit() {
  {
    const std::lock_guard lock(mutex_);
    in_time_ = true;
  }
  returned_.notify_one();
  watch_.join();
}

}  // namespace moebench
