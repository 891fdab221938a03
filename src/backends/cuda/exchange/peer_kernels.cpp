// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/exchange/peer_kernels.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <thread>

#include "backends/cuda/exchange/kernels.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"

namespace moebench::cuda {
namespace {

constexpr const char* kAwaited[kPeerEvents] = {"row counts", "rows", "outputs", "gradients of outputs",
                                               "gradients of rows"};
/// Blocks of a kernel that stores to peers, per multiprocessor: enough stores in flight for the link.
constexpr int kBlocksPerUnit = 4;

/// PeerStatus in host memory that the device sees.
class MappedStatus {
 public:
  MappedStatus() {
    void* memory = nullptr;
    MB_CUDA(cudaHostAlloc(&memory, sizeof *host_, cudaHostAllocMapped));
    host_ = new (memory) PeerStatus{};
    MB_CUDA(cudaHostGetDevicePointer(&device_, host_, 0));
  }
  ~MappedStatus() { cudaFreeHost(host_); }
  MappedStatus(const MappedStatus&) = delete;
  PeerStatus* device() const { return static_cast<PeerStatus*>(device_); }
  volatile PeerStatus& host() const { return *host_; }

 private:
  PeerStatus* host_ = nullptr;
  void* device_ = nullptr;
};

/// Ends the device's waits when a signal asks for it: the main thread may be waiting for the stream.
class InterruptWatch {
 public:
  explicit InterruptWatch(const MappedStatus& status) : thread_([this, &status] { run(status); }) {}
  ~InterruptWatch() {
    over_ = true;
    thread_.join();
  }

 private:
  void run(const MappedStatus& status) const {
    while (!over_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (interrupt_signal() != 0 && status.host().stop == kRunning) status.host().stop = kInterrupted;
    }
  }
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

class CudaPeerKernels final : public PeerKernels {
 public:
  CudaPeerKernels(const PeerGroup& group, Gpu& gpu)
      : gpu_(gpu), words_(gpu.memory, (1 + kPeerEvents) * sizeof(std::uint32_t)), watch_(status_) {
    MB_CUDA(cudaMemset(words_.data(), 0, words_.bytes()));
    auto* const words = words_.as<std::uint32_t>();
    peers_ = {group, words, words + 1, status_.device(),
              static_cast<std::uint64_t>(std::min(group.timeout_s, 1e9) * 1e9)};
    int units = 0;
    MB_CUDA(cudaDeviceGetAttribute(&units, cudaDevAttrMultiProcessorCount, gpu.device));
    blocks_ = units * kBlocksPerUnit;
    load_peer_kernels();
    MB_CUDA(cudaDeviceSynchronize());
  }

  void exchange_counts(const PeerCounts& args) override { peer_counts(stream(), peers_, args); }
  void push(const PeerPush& args) override { peer_push(stream(), peers_, args, blocks_); }
  void spread(const PeerSpread& args) override { peer_spread(stream(), peers_, args); }
  void reduce(const PeerReduce& args) override { peer_reduce(stream(), peers_, args, blocks_); }
  void sum(const PeerSum& args) override { peer_sum(stream(), peers_, args); }
  void scale(const PeerScale& args) override { peer_scale(stream(), peers_, args); }

  void check() override {
    const PeerGroup& g = peers_.g;
    const volatile PeerStatus& status = status_.host();
    switch (status.stop) {
      case kRunning:
        return;
      case kInterrupted:
        return throw_if_interrupted();
      case kOverflow:
        throw DeviceError(cat("rank ", g.first_rank + g.rank, " received ", int{status.rows},
                              " rows, more than any input had before"));
      default:
        throw TimeoutError(cat("rank ", g.first_rank + g.rank, " waited ", g.timeout_s, " s for ",
                               kAwaited[std::uint32_t{status.event}], " from rank ",
                               g.first_rank + static_cast<int>(status.peer)));
    }
  }

 private:
  cudaStream_t stream() const { return gpu_.stream.get(); }

  Gpu& gpu_;
  Buffer words_;  ///< the step, and per event the blocks that are done
  MappedStatus status_;
  DevicePeers peers_{};
  int blocks_ = 0;
  InterruptWatch watch_;
};

}  // namespace

std::unique_ptr<PeerKernels> make_peer_kernels(const PeerGroup& group, Gpu& gpu) {
  return std::make_unique<CudaPeerKernels>(group, gpu);
}

}  // namespace moebench::cuda
