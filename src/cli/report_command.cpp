// SPDX-License-Identifier: Apache-2.0
// `report`: a report as one HTML page.
#include <algorithm>
#include <iostream>

#include "base/text.h"
#include "cli/commands.h"
#include "report/durable_file.h"
#include "report/page.h"
#include "suite/filter.h"

namespace moebench {

ExitCode report_command(const Options& options) {
  Document report = read_document(options.arguments[0]);
  const auto conditions = parse_filter(options.sweep.filter);
  std::erase_if(report.points, [&](const Record& point) { return !matches(point.bench_case, conditions); });
  const std::string page = page_of(report);
  if (options.output == "-") {
    std::cout << page;
    return ExitCode::ok;
  }
  std::error_code error;
  if (!options.force && std::filesystem::exists(options.output, error))
    throw UsageError(cat(options.output, " already exists; give --force to replace it"));
  options.force ? replace_file(options.output, page) : create_file(options.output, page);
  std::cerr << "page: " << options.output << '\n';
  return ExitCode::ok;
}

}  // namespace moebench
