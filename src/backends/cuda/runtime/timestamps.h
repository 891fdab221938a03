// SPDX-License-Identifier: Apache-2.0
// Points on a stream's time line.
#pragma once

#include <vector>

#include "backends/backend.h"
#include "backends/cuda/runtime/handles.h"

namespace moebench::cuda {

class EventTimestamps final : public Timestamps {
 public:
  EventTimestamps(cudaStream_t stream, int count) : stream_(stream) {
    for (int i = 0; i < count; ++i) events_.push_back(make_event(true));
  }
  void record(int index) override { MB_CUDA(cudaEventRecord(event(index), stream_)); }
  double elapsed_us(int from, int to) const override {
    float ms = 0;
    MB_CUDA(cudaEventElapsedTime(&ms, event(from), event(to)));
    return 1e3 * static_cast<double>(ms);
  }

 private:
  cudaEvent_t event(int index) const { return events_[static_cast<std::size_t>(index)].get(); }
  cudaStream_t stream_;
  std::vector<Event> events_;
};

}  // namespace moebench::cuda
