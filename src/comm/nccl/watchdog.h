// SPDX-License-Identifier: Apache-2.0
// The watchdog of work that NCCL has queued: only an abort ends a kernel that waits for a peer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "comm/nccl/communicator.h"
#include "comm/nccl/queue.h"

namespace moebench {

/// Polls a communicator's queued work from its own thread, several times within the limit. It aborts the communicator
/// if the work makes no progress for so long, if NCCL reports a failure, or if work is left after the user has
/// interrupted the run: waits for the stream then return, and the next check() throws. If a call into NCCL does not
/// return, it aborts all ranks.
class NcclWatchdog {
 public:
  NcclWatchdog(std::shared_ptr<NcclCommunicator> communicator, std::unique_ptr<Queue> queue);
  ~NcclWatchdog();
  NcclWatchdog(const NcclWatchdog&) = delete;

  NcclCommunicator& communicator() const { return *communicator_; }
  cudaStream_t stream() const { return queue_->stream(); }
  /// Work was queued. `what` completes "rank 0 waited 30 s … rank 1, 2": "for rows from"; it outlives the watchdog.
  void queued(const char* what);
  /// Throws TimeoutError, CommError or Interrupted if queued work has failed. Does not wait.
  void check();
  /// Returns when all queued work is done. Throws like check().
  void wait();

 private:
  using Clock = std::chrono::steady_clock;
  enum class End { none, timeout, failed, interrupted };

  void run();
  void look();
  void advance();
  void give_up(End end, std::string text);
  void throw_end() const;
  std::string waited(double limit_s, const char* what) const;

  std::shared_ptr<NcclCommunicator> communicator_;
  std::unique_ptr<Queue> queue_;
  std::mutex mutex_;  ///< of all below
  // Mark `oldest_` is waited for; the other one moves with the end of the queue and is next.
  bool open_[2] = {};
  const char* what_[2] = {};
  int oldest_ = 0;
  Clock::time_point since_;                  ///< when the oldest mark became the one waited for
  Clock::time_point looked_ = Clock::now();  ///< by look(): a gap means that this process was stopped
  End end_ = End::none;
  std::string text_;
  bool aborted_ = false;  ///< a call under way puts it off
  bool over_ = false;
  std::condition_variable woken_;
  std::thread thread_;
};

}  // namespace moebench
