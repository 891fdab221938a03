// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "cli/commands.h"
#include "report/comparison.h"

namespace moebench {

ExitCode compare_command(const Options& options) {
  const Comparison comparison =
      compare(read_document(options.arguments[0]), read_document(options.arguments[1]),
              {.threshold_pct = options.threshold_pct});
  std::cout << text_of(comparison);
  return comparison.exit_code();
}

}  // namespace moebench
