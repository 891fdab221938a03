// SPDX-License-Identifier: Apache-2.0
#include "fakes/fake_stream.h"

#include <chrono>
#include <cstring>

#include "fakes/fake_nccl.h"

namespace moebench::fakes {

Stream::~Stream() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  woken_.notify_one();
  thread_.join();
}

void Stream::give(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    work_.push(std::move(work));
    ++given_;
  }
  woken_.notify_one();
}

void Stream::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    woken_.wait(lock, [this] { return over_ || !work_.empty(); });
    if (work_.empty()) return;
    const auto work = std::move(work_.front());
    work_.pop();
    lock.unlock();
    work();
    ++done_;
    lock.lock();
  }
}

void nap() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

}  // namespace moebench::fakes

using moebench::fakes::Stream;

extern "C" {

cudaStream_t fake_stream_make() { return reinterpret_cast<cudaStream_t>(new Stream); }
void fake_stream_end(cudaStream_t stream) { delete Stream::of(stream); }
void fake_stream_copy(cudaStream_t stream, void* to, const void* from, std::size_t bytes) {
  Stream::of(stream)->give([=] { std::memcpy(to, from, bytes); });
}
std::uint64_t fake_stream_given(cudaStream_t stream) { return Stream::of(stream)->given(); }
std::uint64_t fake_stream_done(cudaStream_t stream) { return Stream::of(stream)->done(); }

}  // extern "C"
