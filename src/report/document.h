// SPDX-License-Identifier: Apache-2.0
// A whole report: tool, machine, run and points. Every field is described in docs/report.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/environment.h"
#include "bench/record.h"
#include "bench/topology.h"
#include "report/json_fields.h"

namespace moebench {

inline constexpr std::string_view kReportSchema = "moebench.report/1";

/// One invocation of the program.
struct RunInfo {
  std::string id;  ///< unique enough to tell two runs of a machine apart
  std::vector<std::string> argv;
  std::string repro;       ///< a shell line that repeats the run, launcher included
  std::string start, end;  ///< utc_text(); end is empty while it runs
  double wall_s = 0;
  double ranks_setup_us = 0, backend_setup_us = 0;  ///< joining the ranks; opening the backend
  int exit_code = 0;
  bool interrupted = false;
};

/// A run that measured points which this report took over.
struct EarlierRun {
  std::string id;
  std::vector<std::string> argv;
  std::string repro, start, end;
  std::string commit;  ///< of the build
  bool dirty = false;
  std::string host;
  double load_average = 0;
};

/// The suite that was run, as it was written.
struct SuiteInfo {
  std::string name, question, expectation;
  std::string text;  ///< the whole file
};

struct GpuInfo {
  std::string name;
  int multiprocessors = 0;
  double memory_bytes = 0, cache_bytes = 0;
};

struct MpiInfo {
  std::string library;   ///< "Open MPI 4.1.4"
  std::string launcher;  ///< "mpirun", "srun", …
};

struct RankInfo {
  int rank = 0;
  std::string host;
  std::int64_t pid = 0;
  std::string device;        ///< what it computes on
  std::string bus_id, uuid;  ///< of its GPU; else empty
  std::string cores;         ///< hardware threads that it may run on: "0-3,8"; empty if unknown
};

/// The hardware and libraries under the run. The CPU is that of rank 0's host: Environment::cpu.
struct Machine {
  std::vector<GpuInfo> gpus;
  std::optional<MpiInfo> mpi;
  std::vector<RankInfo> ranks;
  NamedTexts libraries;                ///< name and version of libraries and drivers: {"OpenBLAS", "0.3.21"}
  std::vector<HostTopology> topology;  ///< of each host
};

struct Document {
  ToolFacts tool;
  RunInfo run;
  std::vector<EarlierRun> earlier_runs;
  std::optional<SuiteInfo> suite;
  Environment environment;
  Machine machine;
  std::vector<Peaks> peaks;
  std::vector<Record> points;
  std::vector<std::string> warnings;
};

Json to_json(const Document& document);
Json to_json(const Peaks& peaks);
/// `where` names the report in errors. Throws UsageError for another schema or a value of the wrong kind.
Document document_from_json(const Json& json, const std::string& where);
Peaks peaks_from_json(const Json& json, const std::string& where);

/// Reads a finished report, or the `.part` of one that did not finish: then a torn last line is passed over
/// and a later point replaces an earlier one of the same id. Throws EnvironmentError if it cannot be read,
/// UsageError naming file and line if it is no report.
Document read_document(const std::filesystem::path& path);

/// Puts `record` in place of the point of the same id, or at the end. The same for peaks of one backend
/// and key.
void put(std::vector<Record>& points, Record record);
void put(std::vector<Peaks>& all, const Peaks& peaks);

/// How two runs' machines and builds differ in what can change a time: one sentence each, "CPU: … / …".
std::vector<std::string> differences(const Document& a, const Document& b);

}  // namespace moebench
