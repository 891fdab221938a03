// SPDX-License-Identifier: Apache-2.0
#include "cli/run_context.h"

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
#include "bench/why_not.h"
#include "cli/cores.h"
#include "report/topology_json.h"

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

std::unique_ptr<Backend> open_cpu_backend(World& world) {
  const int threads = threads_of(world);
  const bool own_cores = threads_have_a_core_each(world, host_name(), threads);
  return make_cpu_backend(threads, own_cores ? kSpinBetweenLoops : std::chrono::microseconds{});
}

std::string always_here() { return {}; }

/// One row per backend of this build, best first.
struct KnownBackend {
  std::string_view name;
  const Capabilities& (*capabilities)();
  std::string (*why_not_here)();
  std::unique_ptr<Backend> (*open)(World&);
  bool gpu;
};
constexpr KnownBackend kBackends[] = {
#if MOEBENCH_HAVE_CUDA
    {"cuda", cuda_capabilities, why_no_cuda,
     [](World& world) { return make_cuda_backend(world.local_rank()); }, true},
#endif
    {"cpu", cpu_capabilities, always_here, open_cpu_backend, false},
};

const KnownBackend& find_backend(std::string_view name) {
  for (const KnownBackend& backend : kBackends)
    if (backend.name == name) return backend;
  throw_unknown("backend", name, backend_names());
}

/// Each word once, in the order of first sight.
std::vector<std::string> unique(const std::vector<std::string>& words) {
  std::vector<std::string> once;
  for (const std::string& word : words)
    if (std::find(once.begin(), once.end(), word) == once.end()) once.push_back(word);
  return once;
}

template <class Make>
auto timed(double& us, Make make) {
  const Stopwatch watch(us);
  return make();
}

}  // namespace

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  for (const KnownBackend& backend : kBackends) names.emplace_back(backend.name);
  return names;
}

std::string best_backend() {
  for (const KnownBackend& backend : kBackends)
    if (backend.why_not_here().empty()) return std::string(backend.name);
  MB_ASSERT(false);
}

std::string why_not_backend(std::string_view name) { return find_backend(name).why_not_here(); }

std::string why_no_gpu() {
  for (const KnownBackend& backend : kBackends)
    if (backend.gpu) return backend.why_not_here();
  return "built without CUDA";
}

const Capabilities& capabilities_of(std::string_view backend) { return find_backend(backend).capabilities(); }

bool uses_gpu(std::string_view backend) { return find_backend(backend).gpu; }

namespace {

/// Why "auto" leaves a GPU that is there; nothing where there is none.
std::vector<std::string> notes_on_best_backend() {
#if MOEBENCH_HAVE_CUDA
  if (const std::string why = why_no_cuda(); !why.empty() && cuda_device_is_there())
    return {cat("backend auto takes cpu, not cuda: ", why)};
#endif
  return {};
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

RunCapabilities run_capabilities(const Capabilities& backend, int ranks, std::string_view comm,
                                 bool one_host) {
  std::vector<std::string> engines{std::string(kAuto)};
  std::vector<OtherBackend> others;
  for (const KnownBackend& known : kBackends) {
    const auto names = known.capabilities().engines();
    engines.insert(engines.end(), names.begin(), names.end());
    if (known.name != backend.name()) others.push_back({std::string(known.name), names, known.why_not_here});
  }
  return {.ranks = ranks,
          .backend = backend.name(),
          .comm = comm,
          .engine = [&backend](const Shape& shape) { return backend.best_engine(shape); },
          .words = {{"backend", backend_names()}, {"comm", comm_names()}, {"engine", unique(engines)}},
          .peers_share_memory = one_host && (!uses_gpu(backend.name()) || comm == "nccl"),
          .why_not = [&backend, others](const Case& point) { return why_not(point, backend, others); }};
}

RunContext::RunContext(std::string_view backend, WorldRequest request)
    : notes_(backend == kAuto ? notes_on_best_backend() : std::vector<std::string>()),
      backend_name_(backend == kAuto ? best_backend() : std::string(backend)),
      world_(timed(ranks_us_,
                   [&] {
                     request.gpu = uses_gpu(backend_name_);
                     request.note = [this](const std::string& line) { notes_.push_back(line); };
                     return make_world(request);
                   })),
      pool_(std::make_unique<ThreadPool>(threads_of(*world_))),
      backend_(timed(backend_us_, [&] { return find_backend(backend_name_).open(*world_); })) {}

std::vector<HostTopology> RunContext::topology_of_hosts() {
  HostTopology mine = read_topology(backend_->device().bus_id);
  mine.host = host_name();
  if (Sensors* sensors = backend_->sensors(); sensors && !mine.gpus.empty())
    mine.gpus.front().nvlinks = sensors->nvlinks();
  std::vector<HostTopology> ranks;
  for (const std::string& text : world_->gather_text(text_of(mine))) ranks.push_back(topology_of(text));
  return merged_by_host(ranks);
}

Machine RunContext::describe() {
  const DeviceInfo& device = backend_->device();
  Machine machine;
  if (uses_gpu(backend_name_))
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
          device.bus_id, separator, device.uuid, separator, core_list()));
  for (int rank = 0; rank < world_->size(); ++rank) {
    const auto parts = split(ranks[static_cast<std::size_t>(rank)], '\n');
    machine.ranks.push_back(
        {rank, parts[0], to_int(parts[1]).value_or(0), parts[2], parts[3], parts[4], parts[5]});
  }
  machine.topology = topology_of_hosts();
  if (world_->name() == "mpi") machine.mpi = MpiInfo{world_->library(), detect_launch().launcher};
  return machine;
}

}  // namespace moebench
