// SPDX-License-Identifier: Apache-2.0
// Where and with what a run was made: enough to judge a figure later, and nothing private.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moebench {

using NamedTexts = std::vector<std::pair<std::string, std::string>>;

/// The build of this program.
struct ToolFacts {
  std::string version;
  std::string commit;  ///< empty if it was not built from a git checkout
  bool dirty = false;  ///< tracked files differed from the commit
  std::string build_type, compiler, flags;
  std::vector<std::string> features;  ///< of mpi, cuda, nccl
};
ToolFacts tool_facts();

struct CacheInfo {
  int level = 0;
  std::string type;   ///< Data, Instruction, Unified
  double bytes = 0;   ///< of one of them
  int shared_by = 0;  ///< hardware threads
};

/// Zero or empty where the system does not report it.
struct CpuInfo {
  std::string model, architecture;
  int sockets = 0, cores = 0, threads = 0, numa_nodes = 0;
  int usable_threads = 0;    ///< this process may run on: its affinity mask
  double quota_threads = 0;  ///< the container's limit; 0 for none
  std::vector<CacheInfo> caches;
  double memory_bytes = 0;
  std::string governor;  ///< "performance", "powersave", …
  bool virtual_machine = false;
  std::optional<bool> turbo;  ///< whether clocks may rise above nominal
};

/// The host and what could disturb a measurement on it.
struct Environment {
  std::string host, os, kernel, container;  ///< container: "docker", "kubernetes", …; empty for none seen
  double load_average = 0;                  ///< of the last minute, when the run began
  NamedTexts variables;                     ///< those of allowed_variables(), sorted
  CpuInfo cpu;
  std::vector<std::string> warnings;  ///< sentences for the user
};

/// Reads /proc, /sys and /etc below `root` (tests plant their own) and this process' environment. Never
/// throws for what it cannot read.
Environment read_environment(const std::filesystem::path& root = "/");

/// Reasons why times taken on this host and build may be unreliable, as sentences.
std::vector<std::string> environment_warnings(const Environment& environment, const ToolFacts& tool);

/// Whether a report may hold an environment variable: those that steer libraries, launchers and moebench.
bool is_allowed_variable(std::string_view name);
/// The allowed ones of `environment`, an array of "NAME=value" ended by null, sorted by name.
NamedTexts allowed_variables(const char* const* environment);

/// "2026-01-31T12:00:00Z".
std::string utc_text(std::chrono::system_clock::time_point time);

}  // namespace moebench
