// SPDX-License-Identifier: Apache-2.0
// Any bytes as an axis of a flag and as a filter: they are read, or refused with a UsageError; nothing else.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "suite/axis.h"
#include "suite/filter.h"

using namespace moebench;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    matches(Case{}, parse_filter(text));
  } catch (const UsageError&) {
  }
  const Flag& flag = flags()[data[0] % flags().size()];
  std::vector<std::string> values;
  try {
    values = expand_axis(flag, text);
  } catch (const UsageError&) {
    return 0;
  }
  MB_ASSERT(!values.empty() && values.size() <= kMaxAxisValues);
  for (const auto& value : values)
    MB_ASSERT(expand_axis(flag, value) == std::vector{value});  // spelled for good
  return 0;
}
