// SPDX-License-Identifier: Apache-2.0
#include "cli/report_head.h"

#include <unistd.h>

#include <chrono>

#include "base/text.h"
#include "cli/options.h"
#include "cli/repro.h"
#include "comm/world.h"

namespace moebench {

Document head_of(const std::vector<std::string>& argv, Machine machine) {
  Document head;
  head.tool = tool_facts();
  head.environment = read_environment();
  head.machine = std::move(machine);
  head.warnings = environment_warnings(head.environment, head.tool);
  head.run.start = utc_text(std::chrono::system_clock::now());
  head.run.id = cat(head.run.start, "-", getpid());
  head.run.argv = argv;
  head.run.argv[0] = "moebench";  // its path is the machine's own business
  head.run.repro = repro_line(argv, detect_launch(), moebench_variables());
  return head;
}

}  // namespace moebench
