// SPDX-License-Identifier: Apache-2.0
// Measured links as JSON (docs/links.schema.json).
#pragma once

#include <string>

#include "bench/links.h"
#include "report/document.h"

namespace moebench {

std::string json_of(const Links& links, const Document& head);

}  // namespace moebench
