// SPDX-License-Identifier: Apache-2.0
// The text of an axis: one value, several, or a range of them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "suite/flag.h"

namespace moebench {

constexpr std::size_t kMaxAxisValues = 10000;

/// The values that `text` stands for, in its order, in the flag's own spelling:
///   8,16,32     these
///   1:9:2       1 3 5 7 9: from, to (included if hit), step; numbers only
///   1:4096:*2   1 2 4 … 4096: the same with a factor
/// Parts are separated by commas and may be mixed. Throws UsageError naming the flag and the part.
std::vector<std::string> expand_axis(const Flag& flag, std::string_view text);

}  // namespace moebench
