// SPDX-License-Identifier: Apache-2.0
#include "cli/workplace.h"

#include <sched.h>
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

namespace moebench {
namespace {

/// Cores for one rank: those it is bound to, or its share of the host's if it is not bound.
int threads_of(const World& world) {
  const int usable = usable_cores();
  const int host = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, usable < host ? usable : host / world.local_size());
}

std::unique_ptr<Backend> open_backend(std::string_view name, const World& world) {
  if (name == "cpu") return make_cpu_backend(threads_of(world));
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

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

/// "0-3,8": the hardware threads in this process' affinity mask; empty if unknown.
std::string core_list() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return {};
  std::string text;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &mask)) continue;
    int last = core;
    while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &mask)) ++last;
    text += cat(text.empty() ? "" : ",", core);
    if (last > core) text += cat("-", last);
    core = last;
  }
  return text;
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

std::vector<std::string> engines_of(std::string_view backend) {
#if MOEBENCH_HAVE_CUDA
  if (backend == "cuda") return cuda_engine_names();
#endif
  MB_ASSERT(backend == "cpu");
  return make_cpu_backend(1)->engines();
}

Workplace::Workplace(std::string_view backend, WorldRequest request)
    : backend_name_(backend == "auto" ? best_backend() : std::string(backend)),
      world_(timed(ranks_us_,
                   [&] {
                     request.gpu = backend_name_ == "cuda";
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
  const auto ranks =
      world_->gather_text(cat(host_name(), separator, getpid(), separator, device.name, ", ", device.units,
                              device.kind == "cpu" ? " thread" : " multiprocessor",
                              device.units == 1 ? "" : "s", separator, core_list()));
  for (int rank = 0; rank < world_->size(); ++rank) {
    const auto parts = split(ranks[static_cast<std::size_t>(rank)], '\n');
    machine.ranks.push_back({rank, parts[0], to_int(parts[1]).value_or(0), parts[2], parts[3]});
  }
  if (world_->name() == "mpi") machine.mpi = MpiInfo{world_->library(), detect_launch().launcher};
  return machine;
}

}  // namespace moebench
