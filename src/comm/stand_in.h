// SPDX-License-Identifier: Apache-2.0
// A group of which only this rank is here.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/comm.h"

namespace moebench {

/// Rank `rank` of `size`, without the others. exchange_sizes() gives what `received` [size · n] holds, by sender, but this
/// rank's own entries. exchange_rows() copies the rows that stay here; rows of the other ranks are copies of rows that this
/// rank sends, made when their buffer is first seen or has grown, so that an engine finds numbers of the usual size.
/// all_reduce() does nothing, and split() makes no group: it throws. Nothing waits. `memory` and `received` outlive it.
std::unique_ptr<Comm> make_stand_in_comm(int rank, int size, Memory& memory,
                                         const std::vector<std::int64_t>& received);

}  // namespace moebench
