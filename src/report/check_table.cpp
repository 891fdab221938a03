// SPDX-License-Identifier: Apache-2.0
#include "report/check_table.h"

#include <algorithm>

#include "base/text.h"
#include "report/grid.h"
#include "report/table.h"

namespace moebench {
namespace {

/// The names of all that any record compared, in order of first sight.
std::vector<std::string> compared(std::span<const Record> records) {
  std::vector<std::string> names;
  for (const Record& record : records)
    for (const CheckItem& item : record.check.items)
      if (std::find(names.begin(), names.end(), item.name) == names.end()) names.push_back(item.name);
  return names;
}

std::string error_of(const Record& record, const std::string& name) {
  for (const CheckItem& item : record.check.items)
    if (item.name == name)
      return !item.why_not.empty()
                 ? std::string("not done")
                 : cat(item.error == 0 ? "0" : format("%.0e", item.error), item.passed() ? "" : " !");
  return "–";
}

double largest_bound(const Record& record) {
  double bound = 0;
  for (const CheckItem& item : record.check.items)
    if (!item.name.ends_with("_rows")) bound = std::max(bound, item.bound);
  return bound;
}

}  // namespace

std::string check_table(std::span<const Record> records) {
  if (records.empty()) return {};
  const auto axes = varying(records);
  const auto names = compared(records);
  std::vector<std::string> header;
  for (const auto& [axis, value] : axes.front()) header.push_back(axis);
  header.emplace_back("result");
  header.insert(header.end(), names.begin(), names.end());
  if (!names.empty()) header.emplace_back("bound");
  Grid grid(header);
  for (std::size_t i = 0; i < records.size(); ++i) {
    std::vector<std::string> cells;
    for (const auto& [axis, value] : axes[i]) cells.push_back(value);
    cells.emplace_back(records[i].status == Status::ok ? verdict_of(records[i]) : name_of(records[i].status));
    if (!records[i].check.items.empty()) {
      for (const std::string& name : names) cells.push_back(error_of(records[i], name));
      cells.push_back(format("%.0e", largest_bound(records[i])));
    }
    grid.add_row(std::move(cells));
    if (!records[i].reason.empty()) grid.add_note(records[i].reason);
    for (const std::string& warning : records[i].warnings) grid.add_note(warning);
  }
  const bool twice =
      std::any_of(names.begin(), names.end(), [](const auto& name) { return name == "second"; });
  return cat(caption(records), "\n", grid.text(),
             "\nlargest relative error of a row or element against the oracle, ",
             "in double precision; gate: how far the choice of experts is off; d…: gradients\n",
             twice ? "…_rows: all rows against a second way, within 1.4 × the bound; second: that way "
                     "against the oracle\n"
                   : "");
}

}  // namespace moebench
