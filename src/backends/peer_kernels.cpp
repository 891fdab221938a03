// SPDX-License-Identifier: Apache-2.0
#include "backends/peer_kernels.h"

namespace moebench {

std::string_view awaited(PeerEvent event) {
  constexpr std::string_view kAwaited[kPeerEvents] = {"row counts",        "rows",
                                                      "outputs",           "gradients of outputs",
                                                      "gradients of rows", "the start of the iteration"};
  return kAwaited[static_cast<int>(event)];
}

PeerLayout peer_layout(int ranks, std::int64_t experts, std::int64_t max_tokens, std::int64_t top_k,
                       std::size_t row_bytes, bool returns_by_slot) {
  constexpr std::size_t kAlignment = 256, kWord = 4;
  const auto p = static_cast<std::size_t>(ranks), tokens = static_cast<std::size_t>(max_tokens);
  const std::size_t slots = tokens * static_cast<std::size_t>(top_k);
  std::size_t used = 0;
  const auto place = [&](std::size_t bytes) {
    const std::size_t at = used;
    used += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  };
  PeerLayout layout{};
  layout.flags = place(kPeerEvents * p * kWord);
  layout.counts = place(p * static_cast<std::size_t>(experts) * kWord);
  layout.row_of = place(p * slots * kWord);
  layout.score = place(p * slots * kWord);
  layout.dscore = place(slots * kWord);
  layout.inbox = place(p * tokens * row_bytes);
  layout.partial = place(returns_by_slot ? 0 : p * tokens * row_bytes);
  layout.by_slot = place(returns_by_slot ? slots * row_bytes : 0);
  layout.bytes = used;
  return layout;
}

}  // namespace moebench
