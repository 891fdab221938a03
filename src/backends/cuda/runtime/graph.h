// SPDX-License-Identifier: Apache-2.0
// Work recorded from a stream as a CUDA graph.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>

#include "backends/backend.h"

namespace moebench::cuda {

/// Records what `work` queues on `stream` and on streams that wait for it; instantiated and uploaded, so that the first
/// launch costs what later ones do. The stream must be idle and outlive the graph. Throws DeviceError if `work` did what
/// cannot be recorded, and passes on what it throws; the stream then works as before.
std::unique_ptr<Graph> capture(cudaStream_t stream, const std::function<void()>& work);

}  // namespace moebench::cuda
