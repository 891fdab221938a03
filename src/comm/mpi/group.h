// SPDX-License-Identifier: Apache-2.0
// Messages among the ranks of one communicator, with a limit on every wait.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "comm/backoff.h"
#include "comm/mpi/handles.h"

namespace moebench {

/// How long a wait may take, and whether it may spin.
struct TimeoutPolicy {
  double timeout_s = 0;
  bool crowded = false;  ///< this host has more ranks than cores

  Backoff backoff() const { return {timeout_s, crowded}; }
};

/// A communicator and its ranks.
struct Group {
  Group(Communicator communicator, const TimeoutPolicy& waiting);

  Communicator comm;
  TimeoutPolicy policy;
  int rank = 0, size = 1;
  std::vector<int> world_rank;  ///< of each rank of the group: errors name ranks as the launcher numbers them
};

/// Ends a wait of `group`: throws TimeoutError "rank 0 waited 30 s <what> rank 2, 3"; `peers` are ranks of
/// the group.
[[noreturn]] void throw_timeout(const Group& group, std::string_view what, const std::vector<int>& peers);

/// Throws CommError naming `what` if a message of that many elements is beyond MPI's int counts.
int checked_count(std::int64_t count, std::string_view what);

/// The messages of one exchange, each with its peer. If destroyed unfinished, which only happens when the run
/// is about to end, receives are cancelled and sends abandoned: memory must stay valid until the abort.
class Requests {
 public:
  explicit Requests(const Group& group) : group_(group) {}
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;
  ~Requests();

  void receive(void* data, int count, MPI_Datatype type, int peer, int tag);
  void send(const void* data, int count, MPI_Datatype type, int peer, int tag);
  /// Returns when all are done. Throws TimeoutError naming the peers that are not, CommError if a message
  /// failed or was not as long as its receive. `what` completes "rank 0 waited 30 s for … from rank 2":
  /// "rows".
  void wait(std::string_view what);

 private:
  struct Message {
    int peer;
    bool receives;
    MPI_Count bytes;  ///< expected
  };
  void finish(int index, const MPI_Status& status, std::string_view what);
  [[noreturn]] void give_up(std::string_view what);
  void add(MPI_Request handle, const Message& message);

  const Group& group_;
  std::vector<MPI_Request> handles_;  ///< MPI_REQUEST_NULL once done
  std::vector<Message> messages_;
};

/// Every rank sends `mine` to every other and receives theirs[p], sized by the caller, from each p;
/// theirs[rank] is not written. R·(R-1) messages in all, so that a timeout can name exactly the ranks that are missing:
/// microseconds for a few ranks, milliseconds for hundreds, which is why it stays out of timed regions.
void exchange_blocks(const Group& group, std::span<const std::byte> mine,
                     const std::vector<std::span<std::byte>>& theirs, std::string_view what);

/// Returns when every rank of the group has called it.
void meet(const Group& group);

/// Another communicator of the same ranks; call meet() before, which names missing ranks. Not MPI_Comm_dup: a signal,
/// such as that of a launcher which lost a rank, could not end the wait for it.
Communicator duplicate(const Group& group);

/// Waits for a collective. MPI does not report which rank it waits for: the error names all peers.
void wait_collective(const Group& group, MPI_Request request, std::string_view what);

}  // namespace moebench
