// SPDX-License-Identifier: Apache-2.0
// Several arrays in one allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/memory.h"

namespace moebench {

/// Returns consecutive arrays, each aligned to 256 bytes, from `base`; with a null base it only counts bytes.
class BumpAllocator {
 public:
  explicit BumpAllocator(std::byte* base) : base_(base) {}
  template <class T>
  void allocate(std::span<T>& array, std::int64_t count) {
    if (base_) array = {reinterpret_cast<T*>(base_ + used_), static_cast<std::size_t>(count)};
    constexpr std::size_t kAlignment = 256;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

/// Allocates one buffer for all arrays that `allocate_all(allocator)` asks for and sets them. The buffer owns them.
template <class AllocateAll>
Buffer allocate_together(Memory& memory, AllocateAll allocate_all) {
  BumpAllocator counter(nullptr);
  allocate_all(counter);
  Buffer buffer(memory, counter.used());
  BumpAllocator allocator(buffer.as<std::byte>());
  allocate_all(allocator);
  return buffer;
}

}  // namespace moebench
