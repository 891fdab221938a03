// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/memory.h"

namespace moebench {
namespace {

class Heap final : public Memory {
 public:
  bool host_accessible() const override { return true; }
  void* allocate(std::size_t bytes) override {
    count_allocation(bytes);
    return std::malloc(bytes);
  }
  void deallocate(void* pointer, std::size_t bytes) noexcept override {
    std::free(pointer);
    count_deallocation(bytes);
  }
  void copy_to_host(void*, const void*, std::size_t) override {}
  void copy_from_host(void*, const void*, std::size_t) override {}
  std::size_t available_bytes() const override { return 0; }
};

TEST(MemoryUse, IsSplitAsItWasAtThePeak) {
  Heap heap;
  const Buffer scratch(heap, 7);
  Buffer weights, grows;
  {
    const ScopedMemoryTag scope(heap, MemoryTag::weights);
    weights = Buffer(heap, 100);
    const ScopedMemoryTag inner(heap, MemoryTag::activations);
    grows = Buffer(heap, 10);
  }
  EXPECT_EQ(heap.tag(), MemoryTag::workspace);
  grows.reserve(40);  // is for what it was made for, whenever it grows
  { const Buffer passing(heap, 500, MemoryTag::inputs); }
  EXPECT_EQ(heap.peak_bytes(), 647u);
  EXPECT_EQ(heap.peak_bytes(MemoryTag::weights), 100u);
  EXPECT_EQ(heap.peak_bytes(MemoryTag::activations), 40u);
  EXPECT_EQ(heap.peak_bytes(MemoryTag::inputs), 500u);
  EXPECT_EQ(heap.peak_bytes(MemoryTag::gradients), 0u);
  EXPECT_EQ(heap.peak_bytes(MemoryTag::workspace), 7u);
  heap.reset_peak();
  EXPECT_EQ(heap.peak_bytes(), 147u);
  EXPECT_EQ(heap.peak_bytes(MemoryTag::inputs), 0u);
}

TEST(MemoryUse, FollowsABufferThatIsMoved) {
  Heap heap;
  Buffer a(heap, 30, MemoryTag::weights), b(heap, 5, MemoryTag::inputs);
  a = std::move(b);
  b = Buffer();
  heap.reset_peak();
  EXPECT_EQ(heap.peak_bytes(MemoryTag::inputs), 5u);
  EXPECT_EQ(heap.peak_bytes(MemoryTag::weights), 0u);
}

}  // namespace
}  // namespace moebench
