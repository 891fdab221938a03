// SPDX-License-Identifier: Apache-2.0
// Memory of a backend: the allocator, owning buffers and views.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <numeric>
#include <utility>

namespace moebench {

/// What memory is for. `workspace`: any allocation without a more specific tag, such as scratch of libraries and
/// tensors of the check.
enum class MemoryTag { workspace, weights, gradients, activations, inputs };

/// Where rows and weights live. One per backend; outlives every Buffer made from it.
class Memory {
 public:
  virtual ~Memory() = default;

  /// True if the host can dereference its pointers.
  virtual bool host_accessible() const = 0;
  /// Throws MemoryError. 256-byte aligned. May synchronise; never called in a timed region.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void deallocate(void* pointer, std::size_t bytes) noexcept = 0;
  /// Ordered after work already queued on the backend's stream; return when the bytes have arrived.
  virtual void copy_to_host(void* host, const void* device, std::size_t bytes) = 0;
  virtual void copy_from_host(void* device, const void* host, std::size_t bytes) = 0;
  /// Between two of: places of this memory, and what allocate_host() gave. Ordered on the backend's stream like
  /// its other work, and may return before it is done; finish_copies() returns when all of them are.
  virtual void queue_copy(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  virtual void finish_copies() {}
  /// Memory of the host that such copies are fastest with: page-locked where there is a device. Throws MemoryError.
  virtual void* allocate_host(std::size_t bytes) { return ::operator new(bytes); }
  virtual void deallocate_host(void* pointer) noexcept { ::operator delete(pointer); }
  /// Bytes that could still be allocated now.
  virtual std::size_t available_bytes() const = 0;

  std::size_t used_bytes() const { return used_; }
  std::size_t peak_bytes() const { return peak_; }
  /// How often allocate() ran: a timed region must leave it unchanged.
  std::uint64_t allocations() const { return allocations_; }
  /// Of peak_bytes(), those for `tag`: at that moment, not the peak of this tag.
  std::size_t peak_bytes(MemoryTag tag) const {
    if (tag != MemoryTag::workspace) return at_peak_[static_cast<std::size_t>(tag)];
    return peak_ - std::accumulate(at_peak_.begin() + 1, at_peak_.end(), std::size_t{0});
  }
  void reset_peak() {
    peak_ = used_;
    at_peak_ = by_tag_;
  }
  /// The tag of buffers allocated from now on.
  MemoryTag tag() const { return tag_; }
  void set_tag(MemoryTag tag) { tag_ = tag; }
  /// For Buffer only: adjusts the totals per tag after allocate() or before deallocate().
  void count_tagged(MemoryTag tag, std::size_t bytes) {
    by_tag_[static_cast<std::size_t>(tag)] += bytes;
    if (used_ == peak_) at_peak_ = by_tag_;
  }
  void uncount_tagged(MemoryTag tag, std::size_t bytes) { by_tag_[static_cast<std::size_t>(tag)] -= bytes; }

 protected:
  void count_allocation(std::size_t bytes) {
    used_ += bytes;
    peak_ = used_ > peak_ ? used_ : peak_;
    ++allocations_;
  }
  void count_deallocation(std::size_t bytes) { used_ -= bytes; }

 private:
  std::size_t used_ = 0, peak_ = 0;
  std::uint64_t allocations_ = 0;
  MemoryTag tag_ = MemoryTag::workspace;
  std::array<std::size_t, 5> by_tag_{}, at_peak_{};  // workspace's first, unused
};

/// Buffers allocated while it is in scope get this tag.
class ScopedMemoryTag {
 public:
  ScopedMemoryTag(Memory& memory, MemoryTag tag) : memory_(memory), before_(memory.tag()) {
    memory.set_tag(tag);
  }
  ~ScopedMemoryTag() { memory_.set_tag(before_); }
  ScopedMemoryTag(const ScopedMemoryTag&) = delete;

 private:
  Memory& memory_;
  MemoryTag before_;
};

/// Move-only owner of one allocation. Contents are undefined until written.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Memory& memory, std::size_t bytes) : Buffer(memory, bytes, memory.tag()) {}
  Buffer(Memory& memory, std::size_t bytes, MemoryTag tag) : memory_(&memory), tag_(tag) { reserve(bytes); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() { release(); }

  /// Grows to at least `bytes`; contents are lost when it does. Never shrinks.
  void reserve(std::size_t bytes) {
    if (bytes <= bytes_) return;
    release();
    data_ = memory_->allocate(bytes);
    bytes_ = bytes;
    memory_->count_tagged(tag_, bytes_);
  }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void release() noexcept {
    if (bytes_ > 0) memory_->uncount_tagged(tag_, bytes_);
    if (data_) memory_->deallocate(data_, bytes_);
    data_ = nullptr;
    bytes_ = 0;
  }
  void swap(Buffer& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(tag_, other.tag_);
  }

  Memory* memory_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  MemoryTag tag_ = MemoryTag::workspace;
};

/// Owner of host memory to copy through. Contents are undefined until written.
class HostBuffer {
 public:
  explicit HostBuffer(Memory& memory) : memory_(memory) {}
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;
  ~HostBuffer() { release(); }

  /// Grows to at least `bytes`; contents are lost when it does. Never shrinks.
  std::byte* reserve(std::size_t bytes) {
    if (bytes > bytes_) {
      release();
      data_ = memory_.allocate_host(bytes);
      bytes_ = bytes;
    }
    return static_cast<std::byte*>(data_);
  }

 private:
  void release() noexcept {
    if (data_) memory_.deallocate_host(data_);
    data_ = nullptr;
    bytes_ = 0;
  }

  Memory& memory_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// A backend's stream without its type: a cudaStream_t, or null on the CPU.
struct StreamView {
  void* handle = nullptr;
};

}  // namespace moebench
