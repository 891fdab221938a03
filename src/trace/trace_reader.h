// SPDX-License-Identifier: Apache-2.0
// Recorded routings: who chose which experts, step by step and layer by layer. One reader per format; each holds one step.
// Only experts, weights and counts are read, never hidden states. Nothing of a file is executed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trace/byte_source.h"

namespace moebench {

// What a reader takes at most; a file that says more is refused before memory is asked for.
inline constexpr std::int64_t kMostTraceExperts = std::int64_t{1} << 20;
inline constexpr std::int64_t kMostTraceTopK = 1024;
inline constexpr std::int64_t kMostTraceSlots = std::int64_t{1} << 27;  ///< of one step: tokens x K

/// One layer in one step.
struct TraceStep {
  std::int64_t step = 0, layer = 0;
  std::int64_t tokens = 0;            ///< 0 if only counts are known
  std::vector<std::int32_t> experts;  ///< [tokens, K], different in each row; empty if only counts are known
  std::vector<float> weights;         ///< [tokens, K] where the format has them
  std::vector<std::int64_t> counts;   ///< [E] where only these are known
};

/// What holds for all steps of a trace.
struct TraceInfo {
  std::string_view format;
  std::int64_t experts = 0;  ///< 0: the format does not say
  std::int64_t top_k = 0;    ///< 0: only counts are known
};

/// Whether a step of a layer is wanted.
using WantStep = std::function<bool(std::int64_t step, std::int64_t layer)>;

class TraceReader {
 public:
  virtual ~TraceReader() = default;
  virtual const TraceInfo& info() const = 0;
  /// The next step that is wanted, in the order of the file; false at its end. Throws UsageError with file and place for
  /// whatever is malformed; experts are different, not negative, and below info().experts where that is known.
  virtual bool next(TraceStep& step, const WantStep& want) = 0;
  /// Of the file; of a folder, of what names the hashes of the rest.
  virtual std::string sha256() const = 0;
};

class TraceWriter {
 public:
  virtual ~TraceWriter() = default;
  /// Throws UsageError for a step that the format cannot hold.
  virtual void add(const TraceStep& step) = 0;
  /// The file is complete only after this.
  virtual void finish() = 0;
};

/// What a .npy array of three axes holds: [tokens, layers, K] experts, or [steps, layers, E] counts.
enum class ArrayMeaning { experts, counts };

/// Recognises the format by what is at `path`: a file, or a folder. Throws UsageError.
std::unique_ptr<TraceReader> open_trace(const std::string& path,
                                        ArrayMeaning meaning = ArrayMeaning::experts);
/// By the name: .jsonl, .npy, a folder that ends in /, else moebench's own. Throws UsageError for one that exists and for a
/// place that cannot be written.
std::unique_ptr<TraceWriter> create_trace(const std::string& path, const TraceInfo& info,
                                          ArrayMeaning meaning = ArrayMeaning::experts);

/// Refuses rows of `step` that repeat an expert or have one out of range. `place` says where row 0 stands.
void require_lawful(const ByteSource& source, std::uint64_t place, const TraceStep& step,
                    const TraceInfo& info);

// The formats. docs/routing.md describes each.
std::unique_ptr<TraceReader> read_own_trace(std::unique_ptr<ByteSource> source);
std::unique_ptr<TraceReader> read_npy_trace(std::unique_ptr<ByteSource> source, ArrayMeaning meaning);
std::unique_ptr<TraceReader> read_megatron_trace(std::vector<std::unique_ptr<ByteSource>> ranks);
/// `open` opens the files that the manifest names, by their names in it.
using OpenFile = std::function<std::unique_ptr<ByteSource>(const std::string& name)>;
std::unique_ptr<TraceReader> read_token_imbalance_trace(std::unique_ptr<ByteSource> manifest,
                                                        const OpenFile& open);

std::unique_ptr<TraceWriter> write_own_trace(const std::string& path, const TraceInfo& info);
std::unique_ptr<TraceWriter> write_npy_experts(const std::string& path, const TraceInfo& info);
std::unique_ptr<TraceWriter> write_npy_counts(const std::string& path, const TraceInfo& info);
std::unique_ptr<TraceWriter> write_megatron_trace(const std::string& path, const TraceInfo& info);
std::unique_ptr<TraceWriter> write_token_imbalance_trace(const std::string& folder, const TraceInfo& info);

}  // namespace moebench
