// SPDX-License-Identifier: Apache-2.0
#include "cli/workplace.h"

#include <unistd.h>

#include <algorithm>
#include <thread>

#include "backends/cpu/cpu_backend.h"
#if MOEBENCH_HAVE_CUDA
#include "backends/cuda/cuda_backend.h"
#endif
#include "base/error.h"
#include "base/text.h"
#include "bench/stopwatch.h"
#include "cli/cores.h"

namespace moebench {
namespace {

/// Cores for one rank: those it is bound to, or its share of the host's if it is not bound.
int threads_of(const World& world) {
  const int usable = usable_cores();
  const int host = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, usable < host ? usable : host / world.local_size());
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

std::unique_ptr<Backend> open_backend(std::string_view name, World& world) {
  if (name == "cpu") {
    const int threads = threads_of(world);
    const bool alone = threads_have_a_core_each(world, host_name(), threads);
    return make_cpu_backend(threads, alone ? kSpinBetweenLoops : std::chrono::microseconds{});
  }
#if MOEBENCH_HAVE_CUDA
  if (name == "cuda") return make_cuda_backend(world.local_rank());
#endif
  throw_unknown("backend", name, backend_names());
}

template <class Make>
auto timed(double& us, Make make) {
  const Stopwatch watch(us);
  return make();
}

}  // namespace

#if MOEBENCH_HAVE_CUDA
std::vector<std::string> backend_names() { return {"cuda", "cpu"}; }
std::string why_no_gpu() { return why_no_cuda(); }
#else
std::vector<std::string> backend_names() { return {"cpu"}; }
std::string why_no_gpu() { return "built without CUDA"; }
#endif
std::string best_backend() { return why_no_gpu().empty() ? "cuda" : "cpu"; }

namespace {

/// Why "auto" leaves a GPU that is there; nothing where there is none.
std::vector<std::string> notes_on_best_backend() {
#if MOEBENCH_HAVE_CUDA
  if (const std::string why = why_no_cuda(); !why.empty() && cuda_device_is_there())
    return {cat("backend auto takes cpu, not cuda: ", why)};
#endif
  return {};
}

}  // namespace

std::vector<std::string> engines_of(std::string_view backend) {
#if MOEBENCH_HAVE_CUDA
  if (backend == "cuda") return cuda_engine_names();
#endif
  MB_ASSERT(backend == "cpu");
  return make_cpu_backend(1)->engines();
}

Workplace::Workplace(std::string_view backend, WorldRequest request)
    : notes_(backend == "auto" ? notes_on_best_backend() : std::vector<std::string>()),
      backend_name_(backend == "auto" ? best_backend() : std::string(backend)),
      world_(timed(ranks_us_,
                   [&] {
                     request.gpu = backend_name_ == "cuda";
                     request.note = [this](const std::string& line) { notes_.push_back(line); };
                     return make_world(request);
                   })),
      pool_(std::make_unique<ThreadPool>(threads_of(*world_))),
      backend_(timed(backend_us_, [&] { return open_backend(backend_name_, *world_); })) {}

Available Workplace::available() const {
  std::vector<std::string> engines = backend_->engines();
  engines.insert(engines.begin(), "auto");
  return {.ranks = world_->size(),
          .backend = std::string(backend_->name()),
          .comm = std::string(world_->name()),
          .engine = [this](const Shape& shape) { return backend_->best_engine(shape); },
          .words = {{"backend", backend_names()}, {"comm", comm_names()}, {"engine", engines}}};
}

Machine Workplace::describe() {
  const DeviceInfo& device = backend_->device();
  Machine machine;
  if (device.kind == "cuda")
    machine.gpus.push_back({.name = device.name,
                            .multiprocessors = device.units,
                            .memory_bytes = static_cast<double>(device.memory_bytes),
                            .cache_bytes = static_cast<double>(device.cache_bytes)});
  machine.libraries = device.versions;
  if (world_->name() == "nccl") machine.libraries.emplace_back("nccl", world_->library());
  const std::string separator("\n");
  const auto ranks = world_->gather_text(
      cat(host_name(), separator, getpid(), separator, device.name, ", ", device.units,
          device.kind == "cpu" ? " thread" : " multiprocessor", device.units == 1 ? "" : "s", separator,
          device.bus_id, separator, device.uuid));
  for (int rank = 0; rank < world_->size(); ++rank) {
    const auto parts = split(ranks[static_cast<std::size_t>(rank)], '\n');
    machine.ranks.push_back({rank, parts[0], to_int(parts[1]).value_or(0), parts[2], parts[3], parts[4]});
  }
  if (world_->name() == "mpi") machine.mpi = MpiInfo{world_->library(), detect_launch().launcher};
  return machine;
}

}  // namespace moebench
