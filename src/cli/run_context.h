// SPDX-License-Identifier: Apache-2.0
// The ranks and the backend of this process.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "base/thread_pool.h"
#include "bench/subject.h"
#include "comm/world.h"
#include "report/document.h"
#include "suite/resolve.h"

namespace moebench {

/// Backends of this build, best first.
std::vector<std::string> backend_names();
/// What "auto" stands for here: the best that is usable.
std::string best_backend();
/// Why one of backend_names() cannot be used here; empty if it can.
std::string why_not_backend(std::string_view name);
/// Why "cuda" cannot be used here; empty if it can.
std::string why_no_gpu();
/// What one of backend_names() can run, known without opening it. Throws UsageError for any other name.
const Capabilities& capabilities_of(std::string_view backend);
/// Whether rows of this backend lie in GPU memory, so that ranks may exchange them over NCCL.
bool uses_gpu(std::string_view backend);
/// For expand_sweep(): what "auto" and absent flags stand for with this backend, and what it can run.
RunCapabilities run_capabilities(const Capabilities& backend, int ranks, std::string_view comm,
                                 bool one_host);

class RunContext {
 public:
  /// Opens the backend of that name and joins the ranks; `request.gpu` follows from the backend. Throws EnvironmentError
  /// or UsageError.
  RunContext(std::string_view backend, WorldRequest request);

  World& world() { return *world_; }
  Backend& backend() { return *backend_; }
  Bench bench() { return {*world_, *backend_, *pool_}; }
  RunCapabilities capabilities() const {
    return run_capabilities(*backend_, world_->size(), world_->name(),
                            world_->local_size() == world_->size());
  }
  /// How long joining the ranks and opening the backend took.
  double ranks_us() const { return ranks_us_; }
  double backend_us() const { return backend_us_; }
  /// One line for each "auto" that stands for less than the best there could be: what it took, and why.
  const std::vector<std::string>& notes() const { return notes_; }
  /// For the report. Collective.
  Machine describe();

 private:
  std::vector<HostTopology> topology_of_hosts();

  double ranks_us_ = 0, backend_us_ = 0;
  std::vector<std::string> notes_;
  std::string backend_name_;
  std::unique_ptr<World> world_;
  std::unique_ptr<ThreadPool> pool_;  ///< the oracle's
  std::unique_ptr<Backend> backend_;
};

}  // namespace moebench
