// SPDX-License-Identifier: Apache-2.0
// The fake device must catch what it is there to catch.
#include <gtest/gtest.h>

#include "comm/memories.h"

namespace moebench {
namespace {

TEST(FarMemoryDeathTest, EndsTheProgramThatReadsItFromTheHost) {
  FarMemory memory;
  Buffer buffer(memory, 64);
  EXPECT_DEATH({ [[maybe_unused]] volatile char c = *buffer.as<volatile char>(); }, "");
}

TEST(FarMemory, KeepsWhatWasCopiedToIt) {
  FarMemory memory;
  Buffer buffer(memory, 64);
  const int in = 42;
  int out = 0;
  memory.copy_from_host(buffer.as<std::byte>() + 60, &in, 4);
  memory.copy_to_host(&out, buffer.as<std::byte>() + 60, 4);
  EXPECT_EQ(out, 42);
}

TEST(FarMemory, RefusesACopyPastTheEndOfAnAllocation) {
  FarMemory memory;
  Buffer buffer(memory, 64);
  int value = 0;
  EXPECT_THROW(memory.copy_to_host(&value, buffer.as<std::byte>() + 62, 4), std::out_of_range);
}

}  // namespace
}  // namespace moebench
