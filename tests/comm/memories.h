// SPDX-License-Identifier: Apache-2.0
// Two memories to test exchanges with: the host's, and one that the host must not touch.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <stdexcept>
#include <vector>

#include "base/error.h"
#include "base/memory.h"

namespace moebench {

/// The host's memory, poisoned with 0xFF: NaN in every float format.
class HostMemory : public Memory {
 public:
  bool host_accessible() const override { return true; }
  void* allocate(std::size_t bytes) override {
    void* data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!data) throw MemoryError(bytes, "no memory for a test");
    std::memset(data, 0xFF, bytes);
    count_allocation(bytes);
    return data;
  }
  void deallocate(void* pointer, std::size_t bytes) noexcept override {
    std::free(pointer);
    count_deallocation(bytes);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes) override {
    if (bytes > 0) std::memcpy(host, device, bytes);
  }
  void copy_from_host(void* device, const void* host, std::size_t bytes) override {
    if (bytes > 0) std::memcpy(device, host, bytes);
  }
  std::size_t available_bytes() const override { return std::numeric_limits<std::size_t>::max(); }
};

/// Stands for a device: its pointers are pages without access, so that a host read or write of them ends the
/// test, and a copy outside one allocation throws.
class FarMemory final : public Memory {
 public:
  ~FarMemory() override {
    for (const auto& [base, bytes] : contents_) munmap(base, pages(bytes.size()));
  }
  bool host_accessible() const override { return false; }
  void* allocate(std::size_t bytes) override {
    void* base = mmap(nullptr, pages(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw MemoryError(bytes, "no addresses for a test");
    contents_[static_cast<std::byte*>(base)].assign(bytes, std::byte{0xFF});
    count_allocation(bytes);
    return base;
  }
  void deallocate(void* pointer, std::size_t bytes) noexcept override {
    contents_.erase(static_cast<std::byte*>(pointer));
    munmap(pointer, pages(bytes));
    count_deallocation(bytes);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes) override {
    if (bytes > 0) std::memcpy(host, find(device, bytes), bytes);
  }
  void copy_from_host(void* device, const void* host, std::size_t bytes) override {
    if (bytes > 0) std::memcpy(find(device, bytes), host, bytes);
  }
  void queue_copy(void* to, const void* from, std::size_t bytes) override {
    if (bytes > 0) std::memcpy(on_host(to, bytes), on_host(const_cast<void*>(from), bytes), bytes);
  }
  std::size_t available_bytes() const override { return std::numeric_limits<std::size_t>::max(); }

 private:
  static std::size_t pages(std::size_t bytes) { return (bytes / 4096 + 1) * 4096; }
  /// The bytes behind a far address.
  std::byte* find(const void* device, std::size_t bytes) {
    auto* address = static_cast<std::byte*>(const_cast<void*>(device));
    auto entry = contents_.upper_bound(address);
    if (entry == contents_.begin()) throw std::out_of_range("not an address of this memory");
    --entry;
    const auto offset = static_cast<std::size_t>(address - entry->first);
    if (offset + bytes > entry->second.size())
      throw std::out_of_range("a copy past the end of an allocation");
    return entry->second.data() + offset;
  }
  /// The same for an address of either side.
  void* on_host(void* address, std::size_t bytes) {
    const auto* place = static_cast<std::byte*>(address);
    for (const auto& [base, content] : contents_)
      if (place >= base && place < base + content.size()) return find(address, bytes);
    return address;
  }
  std::map<std::byte*, std::vector<std::byte>> contents_;
};

}  // namespace moebench
