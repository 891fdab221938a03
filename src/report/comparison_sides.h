// SPDX-License-Identifier: Apache-2.0
// Titles and warnings of the two sides of a comparison.
#pragma once

#include <span>

#include "report/comparison.h"

namespace moebench {

/// Fills titles, warnings, what is repeated from the reports, and the command that repeats both in turns.
void describe_sides(Comparison& comparison, std::span<const Document> a, std::span<const Document> b,
                    const CompareOptions& options);

}  // namespace moebench
