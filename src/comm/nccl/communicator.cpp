// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/communicator.h"

#include <sched.h>

#include <exception>

#include "base/error.h"
#include "base/text.h"
#include "comm/watchdog.h"

namespace moebench {

NcclCommunicator::NcclCommunicator(const ncclUniqueId& id, int rank, std::vector<int> world_rank,
                                   NcclTimeoutPolicy policy)
    : world_rank_(std::move(world_rank)), policy_(std::move(policy)), rank_(rank) {
  const Watchdog watchdog(policy_.timeout_s, world_rank_[static_cast<std::size_t>(rank_)], "ncclCommInitRank",
                          policy_.end);
  MB_NCCL(ncclCommInitRank(&handle_, size(), id, rank_));
  check_nccl(settle(), "ncclCommInitRank");
}

NcclCommunicator::NcclCommunicator(NcclCommunicator& parent, int color, int rank, std::vector<int> world_rank)
    : world_rank_(std::move(world_rank)), policy_(parent.policy_), rank_(rank) {
  const Watchdog watchdog(policy_.timeout_s, world_rank_[static_cast<std::size_t>(rank_)], "ncclCommSplit",
                          policy_.end);
  parent.call(
      [&](ncclComm_t whole) { MB_NCCL(ncclCommSplit(whole, color, parent.rank(), &handle_, nullptr)); });
  if (handle_) check_nccl(settle(), "ncclCommSplit");
}

NcclCommunicator::~NcclCommunicator() {
  if (!handle_) return;
  if (std::uncaught_exceptions() > 0)
    nccl().ncclCommAbort(handle_);
  else
    nccl().ncclCommDestroy(handle_);
}

std::string NcclCommunicator::peers() const {
  std::vector<std::string> names;
  for (int peer = 0; peer < size(); ++peer)
    if (peer != rank_) names.push_back(cat(world_rank_[static_cast<std::size_t>(peer)]));
  return join(names, ", ");
}

double NcclCommunicator::seconds_in_call() const {
  const Clock::rep since = in_call_since_;
  return since == 0 ? 0
                    : std::chrono::duration<double>(Clock::now().time_since_epoch() - Clock::duration(since))
                          .count();
}

std::string NcclCommunicator::failure() {
  const std::unique_lock lock(calls_, std::try_to_lock);
  if (!lock || !handle_) return {};
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = nccl().ncclCommGetAsyncError(handle_, &state);
  const ncclResult_t found = asked == ncclSuccess ? state : asked;
  return found == ncclSuccess || found == ncclInProgress ? std::string() : nccl().ncclGetErrorString(found);
}

bool NcclCommunicator::abort() {
  const std::unique_lock lock(calls_, std::try_to_lock);
  if (!lock) return false;
  if (handle_) nccl().ncclCommAbort(handle_);
  handle_ = nullptr;
  return true;
}

void NcclCommunicator::require_alive() const {
  if (!handle_) throw CommError("the NCCL communicator has been aborted");
}

/// Waits until NCCL has taken the call, which a blocking communicator does at once (NCCL_COMM_BLOCKING=0
/// makes another). Returns what has failed since, if anything.
ncclResult_t NcclCommunicator::settle() {
  for (;;) {
    ncclResult_t state = ncclSuccess;
    MB_NCCL(ncclCommGetAsyncError(handle_, &state));
    if (state != ncclInProgress) return state;
    sched_yield();
  }
}

}  // namespace moebench
