// SPDX-License-Identifier: Apache-2.0
// Rows sent to experts and back, as the layer does it, each checked on arrival.
#pragma once

#include <functional>

#include "base/dtype.h"
#include "base/memory.h"
#include "comm/comm.h"

namespace moebench {

/// Rows that rank `from` sends to local expert `expert` of rank `to`. Known to every rank.
using RowCount = std::function<std::int64_t(int from, int to, int expert)>;

struct RowFormat {
  DType dtype = DType::fp32;
  std::int64_t cols = 3;
};

/// Dispatches rows from (rank, expert) order into expert order, where those of one expert lie side by side by
/// sender, and collects them again; expects every byte of every row to arrive where it should and rows around
/// them to be left alone. In both forms of exchange.
void round_trip(Comm& comm, Memory& memory, int experts, const RowCount& rows, const RowFormat& format = {});

}  // namespace moebench
