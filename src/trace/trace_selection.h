// SPDX-License-Identifier: Apache-2.0
// What of a trace is replayed: the word behind `--routing trace:`.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "moe/routing_draw.h"
#include "trace/trace_reader.h"

namespace moebench {

/// "FILE[@layer=L][@step=A[-B]][@as=counts]". Without a layer the first one in the trace; without steps all of them.
struct TraceSelection {
  std::string path;
  std::optional<std::int64_t> layer;
  std::int64_t first_step = 0, last_step = std::numeric_limits<std::int64_t>::max();
  ArrayMeaning meaning = ArrayMeaning::experts;
};

/// Throws UsageError saying what is valid.
TraceSelection parse_selection(std::string_view word);

/// What a report says of a trace, and what a case must match.
struct TraceFacts {
  std::string name, sha256, format, selection;
  int steps = 0;                                   ///< selected
  std::int64_t layer = 0;                          ///< the one that is replayed
  std::int64_t experts = 0;                        ///< 0: the format does not say
  std::int64_t top_k = 0;                          ///< 0: only counts are known
  std::int64_t most_expert = 0;                    ///< the largest number of an expert
  std::int64_t least_tokens = 0, most_tokens = 0;  ///< of the selected steps
  bool operator==(const TraceFacts&) const = default;
};

/// What is replayed, whatever its file is called and wherever it lies: the hash, the format and the selection.
std::string content_of(const TraceFacts& facts);

/// Reads the selected steps, one at a time, and hashes the file. Throws UsageError for what open_trace() refuses and for a
/// selection that is empty.
TraceFacts facts_of(const TraceSelection& selection);
/// Why a layer of this shape cannot replay it: other experts or top-k. Empty if it can.
std::string why_not_replayed(const TraceFacts& facts, const Shape& shape);
/// What is done to give `shape` its tokens: "tokens are repeated: …", "cut", "counts are scaled"; empty if nothing.
std::string fitting_of(const TraceFacts& facts, const Shape& shape);

/// Routing step s is the s-th selected one, from the start again after the last; token t is row t of it, from the start
/// again after its last. Of counts it is a routing with these counts. Holds T·K experts per selected step.
std::unique_ptr<RoutingDraw> draw_trace(const TraceSelection& selection, const Shape& shape,
                                        std::uint64_t seed);

}  // namespace moebench
