// SPDX-License-Identifier: Apache-2.0
// One NCCL communicator and its owner.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "comm/nccl/library.h"

namespace moebench {

/// The limit on every wait of a run, and what happens when it has passed.
struct NcclTimeoutPolicy {
  double timeout_s = 0;
  std::function<void(int code)> end;  ///< aborts all ranks without waiting; may be called from any thread
};

/// A blocking communicator: a non-blocking one hands every group to a new thread (NCCL's group.cc), tens of
/// microseconds that the timed exchange would show. What bounds its waits is an NcclWatchdog.
class NcclCommunicator {
 public:
  /// Collective over the ranks that were given `id`. `world_rank`: of each rank of the group, for errors.
  NcclCommunicator(const ncclUniqueId& id, int rank, std::vector<int> world_rank, NcclTimeoutPolicy policy);
  /// Collective over `parent`: its ranks with the same color, in their order there.
  NcclCommunicator(NcclCommunicator& parent, int color, int rank, std::vector<int> world_rank);
  /// Destroys it, or aborts it if an error is on its way up: peers may then be stuck.
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(world_rank_.size()); }
  const std::vector<int>& world_rank() const { return world_rank_; }
  const NcclTimeoutPolicy& policy() const { return policy_; }
  /// "1, 2": all but this rank, as the launcher numbers them.
  std::string peers() const;

  /// Does `work(handle)`, a few calls into NCCL that end with queueing. Throws CommError after an abort.
  template <class Work>
  void call(Work work) {
    const std::lock_guard lock(calls_);
    require_alive();
    const InCall in_call(*this);
    work(handle_);
    settle();  // what has failed in earlier work is failure()'s to say
  }
  /// How long the call under way has been so; 0 without one. From any thread.
  double seconds_in_call() const;
  /// What has failed in queued work, or empty; empty while a call is under way. From any thread.
  std::string failure();
  /// Ends this rank's part of the queued work, and the communicator. From any thread; false, and nothing
  /// done, while a call is under way.
  bool abort();

 private:
  using Clock = std::chrono::steady_clock;
  /// Notes when a call began.
  struct InCall {
    explicit InCall(NcclCommunicator& owner) : since(owner.in_call_since_) {
      since = Clock::now().time_since_epoch().count();
    }
    ~InCall() { since = 0; }
    std::atomic<Clock::rep>& since;
  };
  void require_alive() const;
  ncclResult_t settle();

  std::vector<int> world_rank_;
  NcclTimeoutPolicy policy_;
  int rank_;
  std::mutex calls_;  ///< NCCL takes one call on a communicator at a time
  std::atomic<Clock::rep> in_call_since_ = 0;
  ncclComm_t handle_ = nullptr;
};

}  // namespace moebench
