// SPDX-License-Identifier: Apache-2.0
// Memory of a backend: who allocates, who owns, who merely looks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

namespace moebench {

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
  void reset_peak() { peak_ = used_; }

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
};

/// Move-only owner of one allocation. Contents are undefined until written.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Memory& memory, std::size_t bytes) : memory_(&memory) { reserve(bytes); }
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
  }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void release() noexcept {
    if (data_) memory_->deallocate(data_, bytes_);
    data_ = nullptr;
    bytes_ = 0;
  }
  void swap(Buffer& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  Memory* memory_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
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

/// Names a backend's queue of work without naming its type: a cudaStream_t, or null on the CPU.
struct StreamView {
  void* handle = nullptr;
};

}  // namespace moebench
