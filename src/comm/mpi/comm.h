// SPDX-License-Identifier: Apache-2.0
// Rows over MPI: the data plane of the mpi world.
#pragma once

#include <memory>
#include <vector>

#include "comm/comm.h"
#include "comm/mpi/group.h"
#include "comm/rows.h"

namespace moebench {

/// One message per peer that has rows, whatever the number of segments; in the form per-expert one for each
/// segment. Memory that the host cannot reach goes to an MPI that takes device pointers as it is, and is
/// otherwise staged through page-locked host buffers, so that ranks may share a device.
class MpiComm final : public Comm {
 public:
  /// `session` keeps MPI alive as long as the communicator.
  MpiComm(std::shared_ptr<Session> session, Group group, Memory& memory);

  std::string_view name() const override { return "mpi"; }
  int rank() const override { return group_.rank; }
  int size() const override { return group_.size; }
  double timeout_s() const override { return group_.policy.timeout_s; }

  void exchange_sizes(std::span<const std::int64_t> send, std::span<std::int64_t> recv) override;
  void exchange_rows(const RowExchange& exchange) override;
  void all_reduce(TensorView tensor) override;
  std::unique_ptr<Comm> split(int color) override;

 private:
  void exchange_round(const RowExchange& exchange);
  void exchange_direct(const RowExchange& exchange);
  void exchange_staged(const RowExchange& exchange);
  /// A committed type of `bytes`, so that counts are in rows and a message may exceed 2 GiB.
  MPI_Datatype row_type(std::size_t bytes);

  std::shared_ptr<Session> session_;
  Group group_;
  Memory& memory_;
  Datatype row_;
  std::size_t row_bytes_ = 0;
  HostBuffer outbox_{memory_}, inbox_{memory_};  ///< host copies of rows, for memory the host cannot reach
};

}  // namespace moebench
