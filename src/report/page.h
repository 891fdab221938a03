// SPDX-License-Identifier: Apache-2.0
// A report as one HTML page that needs nothing else: no script, no font, no network.
#pragma once

#include <string>

#include "report/document.h"

namespace moebench {

/// In this order: what was asked, what makes its figures doubtful, the table, figures, the stages of each point, the
/// machine. Doubts stand above all figures, so that a first look meets them.
std::string page_of(const Document& report);

}  // namespace moebench
