// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/graph.h"

#include "backends/cuda/runtime/handles.h"

namespace moebench::cuda {
namespace {

/// A stream that records. Ends the recording also when what was to be recorded threw.
class Recording {
 public:
  explicit Recording(cudaStream_t stream) : stream_(stream) {
    // Only this thread's calls are refused what a recording forbids: others (a thread that reads sensors) go on.
    MB_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  }
  ~Recording() {
    if (ended_) return;
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(stream_, &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();  // it says that the recording was broken off, which is known
  }
  Recording(const Recording&) = delete;

  GraphTemplate end() {
    ended_ = true;
    cudaGraph_t graph = nullptr;
    MB_CUDA(cudaStreamEndCapture(stream_, &graph));
    return GraphTemplate(graph);
  }

 private:
  cudaStream_t stream_;
  bool ended_ = false;
};

class ExecutableGraph final : public Graph {
 public:
  ExecutableGraph(cudaStream_t stream, const GraphTemplate& recorded) : stream_(stream) {
    cudaGraphExec_t executable = nullptr;
    MB_CUDA(cudaGraphInstantiate(&executable, recorded.get(), 0));
    executable_.reset(executable);
    MB_CUDA(cudaGraphUpload(executable, stream));
    MB_CUDA(cudaStreamSynchronize(stream));
  }
  void launch() override { MB_CUDA(cudaGraphLaunch(executable_.get(), stream_)); }

 private:
  cudaStream_t stream_;
  GraphExecutable executable_;
};

}  // namespace

std::unique_ptr<Graph> capture(cudaStream_t stream, const std::function<void()>& work) {
  Recording recording(stream);
  work();
  return std::make_unique<ExecutableGraph>(stream, recording.end());
}

}  // namespace moebench::cuda
