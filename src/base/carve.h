// SPDX-License-Identifier: Apache-2.0
// Several arrays in one allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/memory.h"

namespace moebench {

/// Hands out consecutive arrays, each aligned to 256 bytes, from `base`; with a null base it only counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}
  template <class T>
  void carve(std::span<T>& array, std::int64_t count) {
    if (base_) array = {reinterpret_cast<T*>(base_ + used_), static_cast<std::size_t>(count)};
    constexpr std::size_t kAlignment = 256;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

/// Allocates room for all arrays that `carve_all(carver)` asks for and sets them. The buffer owns the arrays.
template <class CarveAll>
Buffer carve(Memory& memory, CarveAll carve_all) {
  Carver counter(nullptr);
  carve_all(counter);
  Buffer buffer(memory, counter.used());
  Carver carver(buffer.as<std::byte>());
  carve_all(carver);
  return buffer;
}

}  // namespace moebench
