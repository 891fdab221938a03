// SPDX-License-Identifier: Apache-2.0
// A timeline as trace events, the JSON that chrome://tracing and ui.perfetto.dev open.
#pragma once

#include <span>
#include <string>

#include "bench/timeline.h"
#include "report/document.h"

namespace moebench {

/// Ranks are processes named after `ranks` (rank, host, device); slices nest: iteration, pass, stage. Microseconds.
std::string trace_json(const Timeline& timeline, std::span<const RankInfo> ranks, std::string_view version);

}  // namespace moebench
