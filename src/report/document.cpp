// SPDX-License-Identifier: Apache-2.0
#include "report/document.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>

#include "report/record_json.h"
#include "report/topology_json.h"

namespace moebench {
namespace {

template <class Io, class T>
void tool_fields(Io& io, T& tool) {
  io("version", tool.version);
  io.text("commit", tool.commit);
  io("dirty", tool.dirty);
  io("build_type", tool.build_type);
  io("compiler", tool.compiler);
  io("flags", tool.flags);
  io("features", tool.features);
}

template <class Io, class R>
void run_fields(Io& io, R& run) {
  io("id", run.id);
  io("argv", run.argv);
  io("repro", run.repro);
  io("start", run.start);
  io.text("end", run.end);
  io("wall_s", run.wall_s);
  io("ranks_setup_us", run.ranks_setup_us, 0);
  io("backend_setup_us", run.backend_setup_us, 0);
  io("exit_code", run.exit_code);
  io("interrupted", run.interrupted);
}

template <class Io, class R>
void earlier_run_fields(Io& io, R& run) {
  io("id", run.id);
  io("argv", run.argv);
  io("repro", run.repro);
  io("start", run.start);
  io.text("end", run.end);
  io.text("commit", run.commit);
  io("dirty", run.dirty);
  io("host", run.host);
  io("load_average", run.load_average);
}

template <class Io, class P>
void named_text_fields(Io& io, P& pairs) {
  if constexpr (Io::kReads) {
    for (const auto& key : io.keys()) io(key.c_str(), pairs.emplace_back(key, "").second);
  } else {
    for (const auto& [name, value] : pairs) io(name.c_str(), value);
  }
}

template <class Io, class E>
void environment_fields(Io& io, E& environment) {
  io("host", environment.host);
  io("os", environment.os);
  io("kernel", environment.kernel);
  io.text("container", environment.container);
  io("load_average", environment.load_average);
  io.object("variables", [&](auto& inner) { named_text_fields(inner, environment.variables); });
  io("warnings", environment.warnings);
}

template <class Io, class C>
void cpu_fields(Io& io, C& cpu) {
  io("model", cpu.model);
  io("architecture", cpu.architecture);
  io("sockets", cpu.sockets);
  io("cores", cpu.cores);
  io("threads", cpu.threads);
  io("usable_threads", cpu.usable_threads);
  io("quota_threads", cpu.quota_threads, 0);
  io("numa_nodes", cpu.numa_nodes);
  io("memory_bytes", cpu.memory_bytes);
  io.list("caches", cpu.caches, [](auto& inner, auto& cache) {
    inner("level", cache.level);
    inner("type", cache.type);
    inner("bytes", cache.bytes);
    inner("shared_by", cache.shared_by);
  });
  io.text("governor", cpu.governor);
  io("turbo", cpu.turbo);
  io("virtual_machine", cpu.virtual_machine);
}

template <class Io, class D>
void machine_fields(Io& io, D& document) {
  auto& machine = document.machine;
  io.object("cpu", [&](auto& inner) { cpu_fields(inner, document.environment.cpu); });
  io.list("gpus", machine.gpus, [](auto& inner, auto& gpu) {
    inner("name", gpu.name);
    inner("multiprocessors", gpu.multiprocessors);
    inner("memory_bytes", gpu.memory_bytes);
    inner("cache_bytes", gpu.cache_bytes);
  });
  io.object(
      "mpi",
      [&](auto& inner) {
        if constexpr (Io::kReads) machine.mpi.emplace();
        inner("library", machine.mpi->library);
        inner("launcher", machine.mpi->launcher);
      },
      machine.mpi.has_value());
  io.object("libraries", [&](auto& inner) { named_text_fields(inner, machine.libraries); });
  io.list("ranks", machine.ranks, [](auto& inner, auto& rank) {
    inner("rank", rank.rank);
    inner("host", rank.host);
    inner("pid", rank.pid);
    inner("device", rank.device);
    inner("bus_id", rank.bus_id);
    inner("uuid", rank.uuid);
    inner.text("cores", rank.cores);
  });
  io.list("topology", machine.topology, [](auto& inner, auto& host) { topology_fields(inner, host); });
}

template <class Io, class P>
void peaks_fields(Io& io, P& peaks) {
  io("backend", peaks.backend);
  io.word("dtype", peaks.dtype, parse_dtype);
  io("ranks", peaks.ranks);
  if (io.kReads || peaks.threads > 0) io("threads", peaks.threads);
  io("gemm_tflops", peaks.gemm_tflops, 0);
  io("copy_gbs", peaks.copy_gbs, 0);
  io("launch_us", peaks.launch_us, 0);
  io("link_gbs", peaks.link_gbs, 0);
  io("link_latency_us", peaks.link_latency_us, 0);
  io.known("gemm_spread_pct", peaks.gemm_spread_pct);
  io.known("copy_spread_pct", peaks.copy_spread_pct);
  io.known("link_spread_pct", peaks.link_spread_pct);
  io.text("kept_since", peaks.kept_since);
}

template <class Io, class D>
void head_fields(Io& io, D& document) {
  io.object("tool", [&](auto& inner) { tool_fields(inner, document.tool); });
  io.object("run", [&](auto& inner) { run_fields(inner, document.run); });
  io.list("earlier_runs", document.earlier_runs,
          [](auto& inner, auto& run) { earlier_run_fields(inner, run); });
  io.object(
      "suite",
      [&](auto& inner) {
        if constexpr (Io::kReads) document.suite.emplace();
        inner("name", document.suite->name);
        inner.text("question", document.suite->question);
        inner.text("expectation", document.suite->expectation);
        inner("text", document.suite->text);
      },
      document.suite.has_value());
  io.object("environment", [&](auto& inner) { environment_fields(inner, document.environment); });
  io.object("machine", [&](auto& inner) {
    inner("host", document.environment.host);
    machine_fields(inner, document);
  });
  io.list("peaks", document.peaks, [](auto& inner, auto& peaks) { peaks_fields(inner, peaks); });
}

Json parse(const std::string& text, const std::string& where) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw UsageError(cat(where, ": not JSON: ", error.what()));
  }
}

/// The `.part` of a report: lines of {"head": …}, {"peaks": …}, {"point": …} and {"warning": …}.
Document read_part(const std::string& text, const std::string& name) {
  const auto lines = split(text, '\n');  // the last one is empty unless a write was cut short
  Document document;
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    const auto where = cat(name, ": line ", i + 1);
    const Json line = parse(lines[i], where);
    const JsonReader reader(line, where + ": ");
    if (i == 0 && !reader.find("head")) throw UsageError(cat(where, ": expected the head of a report"));
    if (const Json* head = reader.find("head")) document = document_from_json(*head, where + ": ");
    if (const Json* peaks = reader.find("peaks")) put(document.peaks, peaks_from_json(*peaks, where + ": "));
    if (const Json* point = reader.find("point"))
      put(document.points, record_from_json(*point, where + ": "));
    if (const Json* warning = reader.find("warning"); warning && warning->is_string())
      document.warnings.push_back(warning->get<std::string>());
  }
  return document;
}

std::string gpu_names(const Machine& machine) {
  std::vector<std::string> names;
  for (const auto& gpu : machine.gpus) names.push_back(gpu.name);
  return join(names, ", ");
}

using Compare = std::function<void(const std::string& what, const std::string& a, const std::string& b)>;

/// Names in either list, with both values; `missing` for the value of one that is in the other only.
void compare_named(const NamedTexts& a, const NamedTexts& b, const std::string& missing,
                   const Compare& compare) {
  std::map<std::string, std::pair<std::string, std::string>> values;
  for (const auto& [name, value] : a) values[name] = {value, missing};
  for (const auto& [name, value] : b) {
    values.try_emplace(name, missing, missing);
    values[name].second = value;
  }
  for (const auto& [name, both] : values)
    if (!name.starts_with("SLURM_")) compare(name, both.first, both.second);
}

}  // namespace

Json to_json(const Peaks& peaks) {
  Json json = Json::object();
  std::vector<std::string> odd;
  JsonWriter writer(json, "", odd);
  peaks_fields(writer, peaks);
  return json;
}

Peaks peaks_from_json(const Json& json, const std::string& where) {
  JsonReader reader(json, where);
  Peaks peaks;
  peaks_fields(reader, peaks);
  return peaks;
}

Json to_json(const Document& document) {
  Json json = Json::object();
  json["schema"] = kReportSchema;
  std::vector<std::string> warnings = document.warnings, odd;
  JsonWriter writer(json, "", odd);
  head_fields(writer, document);
  json["points"] = Json::array();
  for (const auto& record : document.points) json["points"].push_back(to_json(record));
  warnings.insert(warnings.end(), odd.begin(), odd.end());
  json["warnings"] = warnings;
  return json;
}

Document document_from_json(const Json& json, const std::string& where) {
  JsonReader reader(json, where);
  std::string schema;
  reader("schema", schema);
  if (schema != kReportSchema)
    throw UsageError(cat(where, "schema: expected '", kReportSchema, "', found '", schema, "'"));
  Document document;
  head_fields(reader, document);
  if (const Json* points = reader.find("points")) {
    if (!points->is_array()) throw UsageError(cat(where, "points: expected a list"));
    for (std::size_t i = 0; i < points->size(); ++i)
      document.points.push_back(record_from_json((*points)[i], cat(where, "points[", i, "].")));
  }
  reader("warnings", document.warnings);
  return document;
}

Document read_document(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path))
    throw EnvironmentError(cat("cannot read report ", path.string()));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (path.extension() == ".part") return read_part(text, path.string());
  return document_from_json(parse(text, path.string()), path.string() + ": ");
}

void put(std::vector<Record>& points, Record record) {
  const auto same = [&](const Record& point) { return point.id == record.id; };
  const auto found = std::find_if(points.begin(), points.end(), same);
  if (found == points.end())
    points.push_back(std::move(record));
  else
    *found = std::move(record);
}

void put(std::vector<Peaks>& all, const Peaks& peaks) {
  for (auto& held : all)
    if (held.backend == peaks.backend && held.key() == peaks.key()) {
      held = peaks;
      return;
    }
  all.push_back(peaks);
}

std::vector<std::string> differences(const Document& a, const Document& b) {
  std::vector<std::string> found;
  const auto shown = [](const std::string& text) { return text.empty() ? std::string("none") : text; };
  const Compare compare = [&](const std::string& what, const std::string& in_a, const std::string& in_b) {
    if (in_a != in_b) found.push_back(cat(what, ": ", shown(in_a), " / ", shown(in_b)));
  };
  const auto& [cpu_a, cpu_b] = std::pair(a.environment.cpu, b.environment.cpu);
  compare("host", a.environment.host, b.environment.host);
  compare("kernel", a.environment.kernel, b.environment.kernel);
  compare("CPU", cpu_a.model, cpu_b.model);
  compare("usable CPU threads", cat(cpu_a.usable_threads), cat(cpu_b.usable_threads));
  compare("CPU frequency governor", cpu_a.governor, cpu_b.governor);
  compare("GPUs", gpu_names(a.machine), gpu_names(b.machine));
  compare("MPI", a.machine.mpi ? a.machine.mpi->library : "", b.machine.mpi ? b.machine.mpi->library : "");
  compare_named(a.machine.libraries, b.machine.libraries, "", compare);
  compare("build type", a.tool.build_type, b.tool.build_type);
  compare("compiler", a.tool.compiler, b.tool.compiler);
  compare("compiler flags", a.tool.flags, b.tool.flags);
  compare_named(a.environment.variables, b.environment.variables, "(unset)", compare);
  return found;
}

}  // namespace moebench
