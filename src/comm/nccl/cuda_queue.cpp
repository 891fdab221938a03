// SPDX-License-Identifier: Apache-2.0
// A CUDA stream whose end is marked with events.
#include <cuda_runtime_api.h>

#include "base/error.h"
#include "base/text.h"
#include "comm/nccl/queue.h"

namespace moebench {
namespace {

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw DeviceError(cat(call, ": ", cudaGetErrorName(status), ", ", cudaGetErrorString(status)));
}

class CudaQueue final : public Queue {
 public:
  explicit CudaQueue(cudaStream_t stream) : stream_(stream) {
    check(cudaGetDevice(&device_), "cudaGetDevice");
    for (cudaEvent_t& event : events_)
      check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  }
  ~CudaQueue() override {
    for (const cudaEvent_t event : events_) cudaEventDestroy(event);
  }

  cudaStream_t stream() const override { return stream_; }
  void enter_thread() override { cudaSetDevice(device_); }  // else the thread would open a context on GPU 0
  bool mark(int which) override {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(stream_, &capture), "cudaStreamIsCapturing");
    if (capture != cudaStreamCaptureStatusNone) return false;
    check(cudaEventRecord(events_[which], stream_), "cudaEventRecord");
    return true;
  }
  bool reached(int which) override {
    const cudaError_t status = cudaEventQuery(events_[which]);
    if (status == cudaErrorNotReady) return false;
    check(status, "cudaEventQuery");
    return true;
  }

 private:
  cudaStream_t stream_;
  int device_ = 0;
  cudaEvent_t events_[2] = {};
};

}  // namespace

std::unique_ptr<Queue> make_cuda_queue(StreamView stream) {
  return std::make_unique<CudaQueue>(static_cast<cudaStream_t>(stream.handle));
}

int visible_gpus() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

std::string gpu_uuid(int local_rank) {
  const int gpus = visible_gpus();
  cudaDeviceProp properties{};
  if (gpus > 0 && cudaGetDeviceProperties(&properties, local_rank % gpus) == cudaSuccess)
    return gpu_uuid_text(properties.uuid.bytes);
  cudaGetLastError();
  return {};
}

}  // namespace moebench
