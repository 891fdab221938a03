// SPDX-License-Identifier: Apache-2.0
// The device's queue of work that NCCL appends to, as far as waiting for it goes.
#pragma once

#include <driver_types.h>

#include <functional>
#include <memory>

#include "base/memory.h"

namespace moebench {

/// Two marks that can be set at the end of what is queued. An interface, so that tests without a device have
/// one.
class Queue {
 public:
  virtual ~Queue() = default;
  virtual cudaStream_t stream() const = 0;
  /// Readies a thread that is not the backend's for reached().
  virtual void enter_thread() {}
  /// Sets mark 0 or 1 at the end of what is queued now; it is no longer where it was. False, and no mark,
  /// while the stream is being captured: what is given to it then is queued later, or never.
  virtual bool mark(int which) = 0;
  /// Whether all that was queued before the mark is done. From any thread. Throws DeviceError.
  virtual bool reached(int which) = 0;
};

/// Of the device that is current in this thread.
std::unique_ptr<Queue> make_cuda_queue(StreamView stream);

/// Makes the queue of a backend's stream.
using MakeQueue = std::function<std::unique_ptr<Queue>(StreamView)>;

/// GPUs that this process sees; 0 where CUDA does not work.
int visible_gpus();
/// UUID of the GPU that a rank takes, which is number `local_rank` of those, and round again; empty if it is not known.
std::string gpu_uuid(int local_rank);

}  // namespace moebench
