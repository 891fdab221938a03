// SPDX-License-Identifier: Apache-2.0
#include "bench/environment.h"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <set>

#include "base/text.h"
#include "bench/system_files.h"
#include "build_facts.h"

namespace moebench {
namespace {

namespace fs = std::filesystem;

/// The value of the first line "key <separator> value" of `text`.
std::string field(std::string_view text, std::string_view key, char separator) {
  for (const auto& line : split(text, '\n')) {
    const auto at = line.find(separator);
    if (at != std::string::npos && trimmed(std::string_view(line).substr(0, at)) == key)
      return std::string(trimmed(std::string_view(line).substr(at + 1)));
  }
  return {};
}

/// "32K", "1024 kB", "8M" → bytes; 0 for anything else.
double bytes_of(std::string_view text) {
  const auto digits = text.substr(0, text.find_first_not_of("0123456789"));
  const auto unit = trimmed(text.substr(digits.size()));
  const auto number = static_cast<double>(to_int(digits).value_or(0));
  if (unit.empty()) return number;
  if (unit.front() == 'K' || unit.front() == 'k') return number * 1024;
  if (unit.front() == 'M') return number * 1024 * 1024;
  if (unit.front() == 'G') return number * 1024 * 1024 * 1024;
  return 0;
}

/// How many CPUs "0-3,8,10-11" lists.
int count_of_list(std::string_view list) {
  std::int64_t count = 0;
  for (const auto& part : split(list, ',')) {
    const auto ends = split(trimmed(part), '-');
    const auto first = to_int(ends.front()), last = to_int(ends.back());
    if (first && last && *last >= *first) count += *last - *first + 1;
  }
  return static_cast<int>(count);
}

std::vector<CacheInfo> read_caches(const fs::path& cpu) {
  std::vector<CacheInfo> caches;
  for (const auto& [number, index] : numbered(cpu / "cache", "index"))
    caches.push_back({.level = static_cast<int>(to_int(system_text(index / "level")).value_or(0)),
                      .type = system_text(index / "type"),
                      .bytes = bytes_of(system_text(index / "size")),
                      .shared_by = count_of_list(system_text(index / "shared_cpu_list"))});
  return caches;
}

/// Hardware threads' worth of time that the control group grants; 0 for no limit.
double read_quota(const fs::path& root) {
  const auto groups = root / "sys/fs/cgroup";
  const auto v2 = split(system_text(groups / "cpu.max"), ' ');
  const auto quota = v2.size() == 2 ? to_int(v2[0]) : to_int(system_text(groups / "cpu/cpu.cfs_quota_us"));
  const auto period = v2.size() == 2 ? to_int(v2[1]) : to_int(system_text(groups / "cpu/cpu.cfs_period_us"));
  return quota && period && *period > 0 ? static_cast<double>(*quota) / static_cast<double>(*period) : 0;
}

std::optional<bool> read_turbo(const fs::path& cpus) {
  if (const auto text = system_text(cpus / "intel_pstate/no_turbo"); !text.empty()) return text == "0";
  if (const auto text = system_text(cpus / "cpufreq/boost"); !text.empty()) return text == "1";
  return std::nullopt;
}

int usable_threads() {
  cpu_set_t mask;
  return sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : 0;
}

CpuInfo read_cpu(const fs::path& root, const std::string& architecture) {
  const auto cpus = root / "sys/devices/system/cpu";
  const auto description = system_text(root / "proc/cpuinfo");
  std::set<std::string> sockets, cores;
  const auto threads = numbered(cpus, "cpu");
  for (const auto& [number, thread] : threads) {
    const auto socket = system_text(thread / "topology/physical_package_id");
    if (socket.empty()) continue;
    sockets.insert(socket);
    cores.insert(cat(socket, ':', system_text(thread / "topology/core_id")));
  }
  CpuInfo cpu;
  cpu.model = field(description, "model name", ':');
  if (cpu.model.empty()) cpu.model = architecture;  // ARM kernels name no model
  cpu.architecture = architecture;
  cpu.sockets = static_cast<int>(sockets.size());
  cpu.cores = static_cast<int>(cores.size());
  cpu.threads = static_cast<int>(threads.size());
  cpu.numa_nodes = static_cast<int>(numbered(root / "sys/devices/system/node", "node").size());
  cpu.usable_threads = usable_threads();
  cpu.quota_threads = read_quota(root);
  if (!threads.empty()) cpu.caches = read_caches(threads.front().second);
  cpu.memory_bytes = bytes_of(field(system_text(root / "proc/meminfo"), "MemTotal", ':'));
  cpu.governor = system_text(cpus / "cpu0/cpufreq/scaling_governor");
  cpu.virtual_machine = cat(field(description, "flags", ':'), ' ').find(" hypervisor ") != std::string::npos;
  cpu.turbo = read_turbo(cpus);
  return cpu;
}

std::string container_hint(const fs::path& root) {
  std::error_code error;
  if (fs::exists(root / "run/.containerenv", error)) return "podman";
  if (fs::exists(root / ".singularity.d", error)) return "apptainer";
  const auto groups = system_text(root / "proc/1/cgroup");
  if (groups.find("kubepods") != std::string::npos) return "kubernetes";
  if (fs::exists(root / ".dockerenv", error) || groups.find("docker") != std::string::npos) return "docker";
  if (groups.find("lxc") != std::string::npos) return "lxc";
  return {};
}

std::string unquoted(std::string text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') return text.substr(1, text.size() - 2);
  return text;
}

}  // namespace

ToolFacts tool_facts() {
  ToolFacts facts{.version = MOEBENCH_VERSION,
                  .commit = MOEBENCH_COMMIT,
                  .dirty = MOEBENCH_DIRTY,
                  .build_type = MOEBENCH_BUILD_TYPE,
                  .compiler = MOEBENCH_COMPILER,
                  .flags = MOEBENCH_FLAGS};
  const std::string_view features = MOEBENCH_FEATURES;
  if (!features.empty()) facts.features = split(features, ',');
  return facts;
}

Environment read_environment(const fs::path& root) {
  Environment environment;
  utsname system{};
  if (uname(&system) == 0) {
    environment.host = system.nodename;
    environment.kernel = cat(system.sysname, ' ', system.release);
  }
  environment.os = unquoted(field(system_text(root / "etc/os-release"), "PRETTY_NAME", '='));
  environment.container = container_hint(root);
  const auto load = system_text(root / "proc/loadavg");
  environment.load_average = to_double(load.substr(0, load.find(' '))).value_or(0);
  environment.variables = allowed_variables(environ);
  environment.cpu = read_cpu(root, system.machine);
  environment.warnings = environment_warnings(environment, tool_facts());
  return environment;
}

std::vector<std::string> environment_warnings(const Environment& environment, const ToolFacts& tool) {
  const auto& cpu = environment.cpu;
  std::vector<std::string> warnings;
  if (!tool.build_type.starts_with("Rel") && tool.build_type != "MinSizeRel")
    warnings.push_back(cat("built as '", tool.build_type, "', not Release: times are not representative"));
  if (tool.flags.find("-fsanitize=") != std::string::npos)
    warnings.push_back("built with sanitizers: times are not representative");
  if (!cpu.governor.empty() && cpu.governor != "performance")
    warnings.push_back(
        cat("CPU frequency governor is '", cpu.governor, "', not 'performance': clocks may vary"));
  if (cpu.turbo.value_or(false)) warnings.push_back("CPU turbo is on: clocks fall as the package warms up");
  const int threads = std::max(1, cpu.usable_threads > 0 ? cpu.usable_threads : cpu.threads);
  if (environment.load_average > std::max(0.5, 0.1 * threads))
    warnings.push_back(
        format("load average was %.2f on %d usable threads at the start: others use this machine",
               environment.load_average, threads));
  if (cpu.quota_threads > 0 && cpu.quota_threads < threads)
    warnings.push_back(
        format("the container may use %.3g threads' worth of %d: it is paused when it uses more",
               cpu.quota_threads, threads));
  for (const auto& [name, value] : environment.variables)
    if ((name == "OMP_NUM_THREADS" || name == "OPENBLAS_NUM_THREADS") && to_int(value) != threads)
      warnings.push_back(cat(name, "=", value,
                             " changes nothing here: the cpu backend has threads of its own, one for ",
                             "each of the ", threads, " that it may run on; --threads sets them"));
  return warnings;
}

bool is_allowed_variable(std::string_view name) {
  constexpr std::array<std::string_view, 8> kPrefixes{"NCCL_",     "CUDA_", "OMP_",     "OPENBLAS_",
                                                      "OMPI_MCA_", "UCX_",  "NVSHMEM_", "MOEBENCH_"};
  constexpr std::array<std::string_view, 4> kNames{"SLURM_JOB_ID", "SLURM_JOB_NODELIST", "SLURM_NTASKS",
                                                   "NVIDIA_TF32_OVERRIDE"};
  // Open MPI's launcher hands its own addresses, directories and a key to each rank.
  constexpr std::array<std::string_view, 6> kPrivate{"OMPI_MCA_plm_",  "OMPI_MCA_orte_",
                                                     "OMPI_MCA_prte_", "OMPI_MCA_ess",
                                                     "OMPI_MCA_pmix",  "OMPI_MCA_initial_wdir"};
  const auto begins = [&](std::string_view prefix) { return name.starts_with(prefix); };
  if (std::any_of(kPrivate.begin(), kPrivate.end(), begins)) return false;
  return std::any_of(kPrefixes.begin(), kPrefixes.end(), begins) ||
         std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

NamedTexts allowed_variables(const char* const* environment) {
  NamedTexts variables;
  for (; environment && *environment; ++environment) {
    const std::string_view entry = *environment;
    const auto name = entry.substr(0, entry.find('='));
    if (name.size() < entry.size() && is_allowed_variable(name))
      variables.emplace_back(name, entry.substr(name.size() + 1));
  }
  std::sort(variables.begin(), variables.end());
  return variables;
}

std::string utc_text(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

}  // namespace moebench
