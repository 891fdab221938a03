// SPDX-License-Identifier: Apache-2.0
#include "trace/trace_reader.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

namespace fs = std::filesystem;

/// router_trace_rank0.jsonl, router_trace_rank1.jsonl, … of a folder.
std::vector<std::unique_ptr<ByteSource>> rank_files(const fs::path& folder) {
  std::vector<std::unique_ptr<ByteSource>> files;
  std::error_code error;
  for (;;) {
    const fs::path file = folder / cat("router_trace_rank", files.size(), ".jsonl");
    if (!fs::exists(file, error)) return files;
    files.push_back(open_file(file.string()));
  }
}

std::unique_ptr<TraceReader> open_folder(const std::string& path) {
  const fs::path folder(path);
  std::error_code error;
  if (fs::exists(folder / "manifest.json", error))
    return read_token_imbalance_trace(
        open_file((folder / "manifest.json").string()),
        [folder](const std::string& name) { return open_file((folder / name).string()); });
  auto ranks = rank_files(folder);
  if (ranks.empty())
    throw UsageError(cat(path, ": a folder without manifest.json and without router_trace_rank0.jsonl"));
  return read_megatron_trace(std::move(ranks));
}

}  // namespace

void require_lawful(const ByteSource& source, std::uint64_t place, const TraceStep& step,
                    const TraceInfo& info) {
  const std::int64_t k = info.top_k, most = info.experts > 0 ? info.experts : kMostTraceExperts;
  std::vector<std::int32_t> row(static_cast<std::size_t>(k));
  for (std::int64_t t = 0; t < step.tokens; ++t) {
    std::copy_n(step.experts.begin() + t * k, k, row.begin());
    for (const std::int32_t expert : row)
      if (expert < 0 || expert >= most)
        source.refuse(place, cat("row ", t, " has an expert that is not in 0 to ", most - 1));
    std::sort(row.begin(), row.end());
    if (const auto twice = std::adjacent_find(row.begin(), row.end()); twice != row.end())
      source.refuse(place, cat("row ", t, " has expert ", *twice, " twice"));
  }
}

std::unique_ptr<TraceReader> open_trace(const std::string& path, ArrayMeaning meaning) {
  std::error_code error;
  if (fs::is_directory(path, error)) return open_folder(path);
  auto source = open_file(path);
  if (source->size() == 0) source->refuse(0, "is empty");
  const auto start = source->read_many<char>(0, std::min<std::uint64_t>(source->size(), 8));
  const std::string_view bytes(start.data(), start.size());
  if (bytes == "MOEROUTE") return read_own_trace(std::move(source));
  if (bytes.starts_with("\x93NUMPY")) return read_npy_trace(std::move(source), meaning);
  if (bytes.starts_with("{")) {
    std::vector<std::unique_ptr<ByteSource>> one;
    one.push_back(std::move(source));
    return read_megatron_trace(std::move(one));
  }
  source->refuse(
      0,
      "neither a trace of moebench, nor a .npy array, nor lines of JSON; a .pt file is read as part of its "
      "folder only");
}

std::unique_ptr<TraceWriter> create_trace(const std::string& path, const TraceInfo& info,
                                          ArrayMeaning meaning) {
  if (path.ends_with("/")) return write_token_imbalance_trace(path, info);
  if (path.ends_with(".jsonl")) return write_megatron_trace(path, info);
  if (!path.ends_with(".npy")) return write_own_trace(path, info);
  return meaning == ArrayMeaning::counts ? write_npy_counts(path, info) : write_npy_experts(path, info);
}

}  // namespace moebench
