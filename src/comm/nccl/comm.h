// SPDX-License-Identifier: Apache-2.0
// Rows, sizes and sums over NCCL.
#pragma once

#include <memory>
#include <vector>

#include "comm/comm.h"
#include "comm/nccl/watchdog.h"

namespace moebench {

/// Everything is queued on the backend's stream, and only exchange_sizes() waits for it. An error in rows or
/// sums is thrown by a later call, and says what was waited for.
///
/// Rows go from and to where they lie: a send and a receive for each segment that has rows. In the form fused
/// all are one NCCL group and a rank's own rows are copied on the device; in the form per-expert each local
/// expert is a group, own rows included, as in the paper's code. Sizes are a group too, through a small
/// buffer on the device: also the paper's code, and no slower with many ranks, where a control plane that
/// gathers on one rank is.
class NcclComm final : public Comm {
 public:
  /// `watchdog` has the group's communicator; null in a group of one rank, which copies to itself.
  NcclComm(std::shared_ptr<NcclWatchdog> watchdog, Memory& memory, StreamView stream, MakeQueue make_queue);

  std::string_view name() const override { return "nccl"; }
  int rank() const override { return watchdog_ ? communicator().rank() : 0; }
  int size() const override { return watchdog_ ? communicator().size() : 1; }
  double timeout_s() const override { return watchdog_ ? communicator().policy().timeout_s : 0; }

  void exchange_sizes(std::span<const std::int64_t> send, std::span<std::int64_t> recv) override;
  bool joins_segments() const override { return false; }
  void exchange_rows(const RowExchange& exchange) override;
  void all_reduce(TensorView tensor) override;
  std::unique_ptr<Comm> split(int color) override;

 private:
  NcclCommunicator& communicator() const { return watchdog_->communicator(); }
  void exchange_fused(const RowExchange& exchange);
  void exchange_per_expert(const RowExchange& exchange);
  /// `work(handle, stream)` in one NCCL group.
  template <class Work>
  void group(Work work);
  void end_of_queue(const char* what);

  std::shared_ptr<NcclWatchdog> watchdog_;
  Memory& memory_;
  StreamView stream_;
  MakeQueue make_queue_;
  Buffer sizes_{memory_, 0};  ///< [2, size, n]: what is sent, what is received
  HostBuffer host_sizes_{memory_};
};

}  // namespace moebench
