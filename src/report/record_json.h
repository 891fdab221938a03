// SPDX-License-Identifier: Apache-2.0
// A record as JSON and back: one element of `points` in a report. Every field is described in docs/report.md.
#pragma once

#include <string>
#include <vector>

#include "bench/record.h"
#include "report/json_fields.h"

namespace moebench {

/// Unless has_times(record), every timing object is null. What is not finite is null, with a reason in
/// `warnings`. Samples are written if the record holds any.
Json to_json(const Record& record);

/// `where` names the record in errors ("a.json: points[3]."). Throws UsageError for a value of the wrong
/// kind.
Record record_from_json(const Json& json, const std::string& where);

/// The paths of all single values of a point, in their order: "case.experts", "time.total.p50_us".
std::vector<std::string> paths_of_record();

/// One line, or indented by two. Bytes that are not UTF-8 are replaced, never an error.
std::string text_of(const Json& json, bool indented = false);

}  // namespace moebench
