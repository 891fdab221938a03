// SPDX-License-Identifier: Apache-2.0
// The routing of one step on one rank: which rows go where. Written by `gate`, `plan` and `sizes`.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/memory.h"
#include "comm/comm.h"
#include "moe/shape.h"

namespace moebench {

/// T, S = T·K and E as in backends/backend.h; P = ranks of the expert-parallel group, e = experts per rank.
struct Routing {
  Routing(const Shape& shape, std::int64_t tokens, Memory& memory);

  // In backend memory, made where the tokens are.
  std::span<float> logits, dlogits;         // [T, E]
  std::span<float> score, dscore;           // [T, K]
  std::span<std::int32_t> expert_of;        // [T, K]
  std::span<std::int32_t> counts, offsets;  // [E], [E + 1] of the packed rows
  std::span<std::int32_t> row_of,
      slot_of;  // [S] slot → row, and back; the latter only for engines that take tokens

  // In backend memory, made where the experts are; with one rank the offsets above are these.
  std::span<std::int32_t> local_offsets;  // [e + 1] of the received rows
  std::span<std::int32_t> expert_of_row;  // [n], only for engines that want rows by token

  // On the host, with several ranks only.
  std::vector<std::int64_t> sent, received;  // [P, e] rows to and from each peer, per expert
  std::vector<std::int64_t> host_offsets;    // [e + 1] of the received rows
  std::vector<Segment> home, away;           // [P, e] where those rows lie: here, and among the received

  std::int64_t received_rows() const { return host_offsets.back(); }

  /// counts → sent. Waits for the device.
  void read_counts(Memory& memory);
  /// From `sent` and `received`: host_offsets and the segments. Rows at home lie in (peer, expert) order and received
  /// rows in (expert, peer) order, so that rows of one expert are side by side in both.
  void lay_out_rows();
  /// host_offsets → local_offsets, and expert_of_row if `by_token`.
  void write_received(Memory& memory, bool by_token);

 private:
  Buffer storage_, expert_of_row_;
  std::vector<std::int32_t> staging_;  ///< 32-bit copies on their way between host and device
};

}  // namespace moebench
