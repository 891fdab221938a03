// SPDX-License-Identifier: Apache-2.0
// The direct exchange in numbers: the group of ranks, how many rows crossed in a step, how long rows should take.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/peer_kernels.h"
#include "base/memory.h"
#include "layer/dispatch/dispatcher.h"
#include "moe/cost.h"

namespace moebench {

/// The group of the dispatcher's ranks, whose blocks lie at `blocks` as this process addresses them. `max_tokens`: the most
/// of any rank.
PeerGroup peer_group_of(const DispatcherArgs& args, const PeerLayout& layout, std::int64_t max_tokens,
                        const std::vector<std::byte*>& blocks);

/// Adds to `load` the slots and distinct rows that leave this rank for others, and the dropped slots. expert_of [T·K] of
/// its tokens, on the host.
void count_sent(std::span<const std::int32_t> expert_of, const PeerGroup& group, RankLoad& load);
/// The same of rows that arrived, from the lists in this rank's block, which lies in `memory`. Waits for the device.
void count_received(const PeerGroup& group, Memory& memory, RankLoad& load);

/// What a push or reduce beside the experts takes if every expert is as likely; only speed depends on it.
class DirectForecast {
 public:
  /// `tokens`: of this rank. `kernels` outlives the forecast.
  DirectForecast(const PeerGroup& group, std::int64_t tokens, const PeerKernels& kernels);
  double push_us() const { return kernels_.beside_us(link_bytes_, link_bytes_); }
  /// A reduce reads every row of the others' tokens.
  double reduce_us() const { return kernels_.beside_us(link_bytes_, row_bytes_); }

 private:
  const PeerKernels& kernels_;
  double link_bytes_,
      row_bytes_;  ///< one row per token and rank with its experts; one per slot of other ranks
};

}  // namespace moebench
