// SPDX-License-Identifier: Apache-2.0
// Any bytes as a suite file: they are read, or refused with a UsageError on one line; nothing else.
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "suite/suite_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    moebench::parse_suite({reinterpret_cast<const char*>(data), size}, "fuzz.json");
  } catch (const moebench::UsageError& error) {
    MB_ASSERT(std::string_view(error.what()).starts_with("fuzz.json:"));
  }
  return 0;
}
