// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace moebench {

void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "moebench: internal error: '%s' does not hold at %s:%d\n", condition, file, line);
  std::abort();
}

}  // namespace moebench
