// SPDX-License-Identifier: Apache-2.0
#include "layer/dispatch/row_layout.h"

namespace moebench {

RowLayout::RowLayout(int ranks, std::int64_t experts_per_rank)
    : sent(static_cast<std::size_t>(ranks * experts_per_rank)),
      received(sent.size()),
      offsets(static_cast<std::size_t>(experts_per_rank + 1)),
      send_segments(sent.size()),
      recv_segments(sent.size()) {}

void RowLayout::lay_out() {
  const std::int64_t pairs = std::ssize(sent), experts = std::ssize(offsets) - 1;
  std::int64_t sent_rows = 0, received_rows = 0;
  for (std::int64_t i = 0; i < pairs; ++i) {
    send_segments[i] = {sent_rows, sent[i]};
    sent_rows += sent[i];
  }
  for (std::int64_t e = 0; e < experts; ++e) {
    offsets[e] = received_rows;
    for (std::int64_t i = e; i < pairs; i += experts) {
      recv_segments[i] = {received_rows, received[i]};
      received_rows += received[i];
    }
  }
  offsets[experts] = received_rows;
}

}  // namespace moebench
