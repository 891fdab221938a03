// SPDX-License-Identifier: Apache-2.0
// Move-only owners of CUDA streams, events and graphs.
#pragma once

#include <memory>
#include <type_traits>

#include "backends/cuda/runtime/check.h"

namespace moebench::cuda {

struct StreamDeleter {
  void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
using Stream = std::unique_ptr<std::remove_pointer_t<cudaStream_t>, StreamDeleter>;

struct EventDeleter {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using Event = std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, EventDeleter>;

struct GraphTemplateDeleter {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using GraphTemplate = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, GraphTemplateDeleter>;

struct GraphExecutableDeleter {
  void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
};
using GraphExecutable = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, GraphExecutableDeleter>;

/// A stream that does not wait for the default stream.
inline Stream make_stream() {
  cudaStream_t stream = nullptr;
  MB_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return Stream(stream);
}

/// The same, and its blocks are placed before those of other streams that could begin, too.
inline Stream make_urgent_stream() {
  int least = 0, greatest = 0;
  MB_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  cudaStream_t stream = nullptr;
  MB_CUDA(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
  return Stream(stream);
}

/// With `timed`, cudaEventElapsedTime takes it; without, recording costs less.
inline Event make_event(bool timed) {
  cudaEvent_t event = nullptr;
  MB_CUDA(cudaEventCreateWithFlags(&event, timed ? cudaEventDefault : cudaEventDisableTiming));
  return Event(event);
}

}  // namespace moebench::cuda
