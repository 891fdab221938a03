// SPDX-License-Identifier: Apache-2.0
// Records as tables for people.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/record.h"

namespace moebench {

/// A table as words: one row per record or stage, and beneath a row what is to be said of it (empty for nothing).
struct Cells {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> notes;
};
/// `extra`: columns beyond the usual ones (report/extra_columns.h).
Cells cells_of(std::span<const Record> records, std::span<const std::string> extra = {});
/// Without rows if the stages were not measured.
Cells stage_cells_of(const Record& record);

/// A caption with what all have in common, then one row per record: what varies, the median time and how
/// precisely it is known, the rate, how near the limit. What has no time shows its status, with the reason
/// beneath. On a terminal of `columns` columns what does not fit is left out, and said so; 0: nothing is. Ends in a
/// line break; empty for no records.
std::string table(std::span<const Record> records, std::size_t columns = 0,
                  std::span<const std::string> extra = {});

/// One row per stage of one record: where the time goes and what limits it. Empty if the stages were not
/// measured.
std::string stage_table(const Record& record, std::size_t columns = 0);

/// What all have in common: "hidden=64 ffn=128", in lines of at most `columns`. Ends in a line break.
std::string caption(std::span<const Record> records, std::size_t columns = 100);

/// What tells these records apart: the axes that vary, and as many settings as are needed beyond them.
/// One list per record, the same names in each; "–" where a record has none.
std::vector<std::vector<std::pair<std::string, std::string>>> varying(std::span<const Record> records);

}  // namespace moebench
