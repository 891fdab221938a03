// SPDX-License-Identifier: Apache-2.0
#include "layer/dispatch/direct_rows.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace moebench {

void count_sent(std::span<const std::int32_t> expert_of, const PeerGroup& group, RankLoad& load) {
  const auto k = static_cast<std::size_t>(group.top_k);
  for (std::size_t first = 0; first < expert_of.size(); first += k) {
    std::uint32_t ranks = 0;
    for (const std::int32_t e : expert_of.subspan(first, k)) {
      load.dropped += e < 0;
      if (e < 0 || e / group.experts_per_rank() == group.rank) continue;
      ++load.sent_copies;
      ranks |= 1u << (e / group.experts_per_rank());
    }
    load.sent_rows += __builtin_popcount(ranks);
  }
}

void count_received(const PeerGroup& group, Memory& memory, RankLoad& load) {
  const std::int64_t k = group.top_k;
  for (int p = 0; p < group.size; ++p) {
    if (p == group.rank) continue;
    const auto* lists = reinterpret_cast<const std::int32_t*>(group.block[group.rank] + group.at.row_of);
    std::vector<std::int32_t> rows(static_cast<std::size_t>(group.tokens[p] * k));
    memory.copy_to_host(rows.data(), lists + p * group.max_tokens * k, rows.size() * sizeof rows[0]);
    for (std::size_t slot = 0; slot < rows.size(); slot += static_cast<std::size_t>(k)) {
      const auto here =
          std::count_if(&rows[slot], &rows[slot] + k, [](std::int32_t row) { return row >= 0; });
      load.received_rows += here > 0;
      load.received_copies += here;
    }
  }
}

DirectForecast::DirectForecast(const PeerGroup& group, std::int64_t tokens, const PeerKernels& kernels)
    : kernels_(kernels) {
  const double others = group.size - 1,
               row = static_cast<double>(group.hidden) * static_cast<double>(size_of(group.dtype));
  const auto k = static_cast<double>(group.top_k), t = static_cast<double>(tokens);
  link_bytes_ = t * row * others * (1 - std::pow(others / group.size, k));
  row_bytes_ = t * k * (1 - 1.0 / group.size) * row;
}

PeerGroup peer_group_of(const DispatcherArgs& args, const PeerLayout& layout, std::int64_t max_tokens,
                        const std::vector<std::byte*>& blocks) {
  const Shape& shape = args.shape;
  const bool beside = args.overlap == Overlap::wgrad || args.overlap == Overlap::peer;
  PeerGroup group{.rank = args.ranks.rank(),
                  .size = args.ranks.size(),
                  .first_rank = args.rank / shape.ep * shape.ep,
                  .experts = shape.experts,
                  .max_tokens = max_tokens,
                  .top_k = shape.slots_per_token(),
                  .hidden = shape.hidden,
                  .dtype = shape.dtype,
                  .at = layout,
                  .timeout_s = args.ranks.timeout_s(),
                  .beside_units = beside ? args.comm_sms : 0,
                  .returns_by_slot = args.overlap == Overlap::tile};
  std::copy(blocks.begin(), blocks.end(), group.block);
  for (int p = 0; p < group.size; ++p)
    group.tokens[p] = static_cast<std::int32_t>(shape.tokens_of(group.first_rank + p));
  return group;
}

}  // namespace moebench
