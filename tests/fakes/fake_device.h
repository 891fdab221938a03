// SPDX-License-Identifier: Apache-2.0
// A device's memory and queue on the streams of the fake NCCL.
#pragma once

#include <memory>
#include <thread>

#include "comm/memories.h"
#include "comm/nccl/queue.h"
#include "fakes/fake_nccl.h"

namespace moebench {

/// Owner of a fake stream.
class FakeStream {
 public:
  FakeStream() : handle_(fake_stream_make()) {}
  ~FakeStream() { fake_stream_end(handle_); }
  FakeStream(const FakeStream&) = delete;
  cudaStream_t handle() const { return handle_; }
  void wait() const {
    const auto given = fake_stream_given(handle_);
    while (fake_stream_done(handle_) < given) std::this_thread::yield();
  }

 private:
  cudaStream_t handle_;
};

/// Marks of a fake stream.
class FakeQueue final : public Queue {
 public:
  explicit FakeQueue(cudaStream_t stream) : stream_(stream) {}
  cudaStream_t stream() const override { return stream_; }
  bool mark(int which) override {
    timestamps_[which] = fake_stream_given(stream_);
    return true;
  }
  bool reached(int which) override { return fake_stream_done(stream_) >= timestamps_[which]; }

 private:
  cudaStream_t stream_;
  std::uint64_t timestamps_[2] = {};
};

/// The one stream that all of a test program's communicators use, whatever the backend calls its own.
inline FakeStream& the_fake_stream() {
  static FakeStream stream;
  return stream;
}

inline std::unique_ptr<Queue> make_fake_queue(StreamView) {
  return std::make_unique<FakeQueue>(the_fake_stream().handle());
}

/// Memory that is written and read in the order of the stream, as a GPU's is; poisoned with 0xFF.
class StreamMemory final : public HostMemory {
 public:
  bool host_accessible() const override { return false; }
  void deallocate(void* pointer, std::size_t bytes) noexcept override {
    the_fake_stream().wait();
    HostMemory::deallocate(pointer, bytes);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes) override {
    queue_copy(host, device, bytes);
    finish_copies();
  }
  void copy_from_host(void* device, const void* host, std::size_t bytes) override {
    queue_copy(device, host, bytes);
    finish_copies();
  }
  void queue_copy(void* to, const void* from, std::size_t bytes) override {
    fake_stream_copy(the_fake_stream().handle(), to, from, bytes);
  }
  void finish_copies() override { the_fake_stream().wait(); }
};

}  // namespace moebench
