// SPDX-License-Identifier: Apache-2.0
// Where the rows of an all-to-all-v lie, on the rank that sends them and on the one that receives them.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/comm.h"

namespace moebench {

/// P ranks, e experts per rank. Sent rows lie in (peer, expert) order, received rows in (expert, peer) order: rows of
/// one expert are side by side in both.
struct RowLayout {
  RowLayout(int ranks, std::int64_t experts_per_rank);

  std::vector<std::int64_t> sent, received;           ///< [P, e] rows to and from each peer, per expert
  std::vector<std::int64_t> offsets;                  ///< [e + 1] of the received rows
  std::vector<Segment> send_segments, recv_segments;  ///< [P, e]

  std::int64_t received_rows() const { return offsets.back(); }
  /// From `sent` and `received`: everything else.
  void lay_out();
};

}  // namespace moebench
