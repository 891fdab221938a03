// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/exchange/peer_kernels.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <optional>
#include <thread>

#include "backends/cuda/exchange/kernels.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"

namespace moebench::cuda {
namespace {

/// Blocks of a kernel that stores to peers, per multiprocessor: enough stores in flight for the link.
constexpr int kBlocksPerUnit = 4;

// What large blocks reach on an H100, per multiprocessor: they only decide how tiles are dealt meanwhile.
constexpr double kLinkBytesPerUs = 24e3, kMostLinkBytesPerUs = 330e3, kMemoryBytesPerUs = 60e3;
constexpr double kBesideLatencyUs = 6;

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

/// The queue of kernels that run beside the stream's.
struct Beside {
  explicit Beside(int multiprocessors) : units(multiprocessors), stream(make_urgent_stream()) {
    for (Event& event : done_) event = make_event(false);
  }
  cudaEvent_t done(PeerEvent event) const { return done_[static_cast<int>(event)].get(); }

  int units;
  Stream stream;
  Event reached = make_event(false), started = make_event(false);

 private:
  Event done_[kPeerEvents];
};

class CudaPeerKernels final : public PeerKernels {
 public:
  CudaPeerKernels(const PeerGroup& group, Gpu& gpu)
      : gpu_(gpu), words_(gpu.memory, (3 + kPeerEvents) * sizeof(std::uint32_t)), watch_(status_) {
    MB_CUDA(cudaMemset(words_.data(), 0, words_.bytes()));
    auto* const words = words_.as<std::uint32_t>();
    peers_ = {group,
              words,
              words + 1,
              words + 2,
              words + 3,
              status_.device(),
              static_cast<std::uint64_t>(std::min(group.timeout_s, 1e9) * 1e9)};
    int units = 0;
    MB_CUDA(cudaDeviceGetAttribute(&units, cudaDevAttrMultiProcessorCount, gpu.device));
    in_turn_ = {gpu.stream.get(), false, units * kBlocksPerUnit, nullptr};
    if (group.beside_units > 0) beside_.emplace(std::min(group.beside_units, units));
    load_peer_kernels();
    MB_CUDA(cudaDeviceSynchronize());
  }

  void start_together() override { peer_start(stream(), peers_); }
  void exchange_counts(const PeerCounts& args) override { peer_counts(stream(), peers_, args); }
  void push(const PeerPush& args) override {
    queue(args.event, args.beside, [&](const PeerLaunch& launch) { peer_push(launch, peers_, args); });
  }
  void spread(const PeerSpread& args) override { peer_spread(stream(), peers_, args); }
  void reduce(const PeerReduce& args) override {
    queue(args.event, args.beside, [&](const PeerLaunch& launch) { peer_reduce(launch, peers_, args); });
  }
  void wait_for(PeerEvent event) override { MB_CUDA(cudaStreamWaitEvent(stream(), beside_->done(event), 0)); }
  void sum(const PeerSum& args) override { peer_sum(stream(), peers_, args); }
  void scale(const PeerScale& args) override { peer_scale(stream(), peers_, args); }
  void send_dscore(std::span<const float> dscore) override {
    peer_send_dscore(stream(), peers_, dscore.data());
  }
  void finish(PeerEvent event) override { peer_finish(stream(), peers_, event); }

  double beside_us(double link_bytes, double memory_bytes) const override {
    const double link = std::min(kLinkBytesPerUs * beside_->units, kMostLinkBytesPerUs),
                 memory = kMemoryBytesPerUs * beside_->units;
    return kBesideLatencyUs + std::max(link_bytes / link, memory_bytes / memory);
  }

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
                               awaited(static_cast<PeerEvent>(std::uint32_t{status.event})), " from rank ",
                               g.first_rank + static_cast<int>(status.peer)));
    }
  }

 private:
  cudaStream_t stream() const { return gpu_.stream.get(); }

  /// Beside other work: after what the stream holds, and what the stream is given later begins when all blocks of the
  /// kernel run, so that those of the experts do not take their multiprocessors.
  template <class Launch>
  void queue(PeerEvent event, bool beside, Launch launch) {
    if (!beside) return launch(in_turn_);
    MB_CUDA(cudaEventRecord(beside_->reached.get(), stream()));
    MB_CUDA(cudaStreamWaitEvent(beside_->stream.get(), beside_->reached.get(), 0));
    launch({beside_->stream.get(), true, beside_->units, beside_->started.get()});
    MB_CUDA(cudaStreamWaitEvent(stream(), beside_->started.get(), 0));
    MB_CUDA(cudaEventRecord(beside_->done(event), beside_->stream.get()));
  }

  Gpu& gpu_;
  Buffer
      words_;  ///< the step, the barriers, whether rows are counted, and per event the blocks that are done
  MappedStatus status_;
  DevicePeers peers_{};
  PeerLaunch in_turn_{};
  std::optional<Beside> beside_;
  InterruptWatch watch_;
};

}  // namespace

std::unique_ptr<PeerKernels> make_peer_kernels(const PeerGroup& group, Gpu& gpu) {
  return std::make_unique<CudaPeerKernels>(group, gpu);
}

}  // namespace moebench::cuda
