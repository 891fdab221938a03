// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "report/csv.h"
#include "report/example.h"

namespace moebench {
namespace {

/// RFC 4180, read back.
std::vector<std::vector<std::string>> parse(const std::string& text) {
  std::vector<std::vector<std::string>> rows(1, {""});
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && quoted && text[i + 1] == '"')
      rows.back().back() += text[++i];
    else if (text[i] == '"')
      quoted = !quoted;
    else if (text[i] == ',' && !quoted)
      rows.back().emplace_back();
    else if (text.compare(i, 2, "\r\n") == 0 && !quoted)
      ++i, rows.emplace_back(1, "");
    else
      rows.back().back() += text[i];
  }
  rows.pop_back();
  return rows;
}

std::string cell(const std::vector<std::vector<std::string>>& rows, std::size_t row,
                 const std::string& column) {
  const auto found = std::find(rows[0].begin(), rows[0].end(), column);
  return found == rows[0].end() ? "no such column"
                                : rows[row][static_cast<std::size_t>(found - rows[0].begin())];
}

TEST(Csv, HasOneRowPerPointAndTheSameColumnsInEach) {
  const auto rows = parse(csv(example::document().points));
  ASSERT_EQ(rows.size(), 6u);
  for (const auto& row : rows) EXPECT_EQ(row.size(), rows[0].size());
  EXPECT_EQ(parse(csv({})).at(0), rows[0]);
}

TEST(Csv, NamesColumnsByTheirPathInTheReport) {
  const auto rows = parse(csv(std::vector{example::record(8, "loop", 2000)}));
  EXPECT_EQ(cell(rows, 1, "case.tokens"), "4096");
  EXPECT_EQ(cell(rows, 1, "case.engine"), "loop");
  EXPECT_EQ(cell(rows, 1, "time.total.p50_us"), "2000.0");
  EXPECT_EQ(cell(rows, 1, "stages.forward.experts.p50_us"), "500.0");
  EXPECT_EQ(cell(rows, 1, "stages.forward.plan.p50_us"), "") << "fused";
  EXPECT_EQ(cell(rows, 1, "time.sync.p50_us"), "");
  EXPECT_EQ(cell(rows, 1, "check.passed"), "true");
  EXPECT_EQ(cell(rows, 1, "check.verdict"), "ok");
}

TEST(Csv, SaysWhereEachRowIsFrom) {
  const Document report = example::document();
  std::vector<Record> records{example::record(8, "loop", 2000), example::record(16, "loop", 2000)};
  records[0].run = report.earlier_runs[0].id;
  const auto rows = parse(csv(records, report));
  EXPECT_EQ(cell(rows, 1, "commit"), report.earlier_runs[0].commit);
  EXPECT_EQ(cell(rows, 1, "date"), "2026-01-30T12:00:00Z");
  EXPECT_EQ(cell(rows, 2, "commit"), report.tool.commit);
  EXPECT_EQ(cell(rows, 2, "date"), "2026-01-31T12:00:00Z");
  EXPECT_EQ(cell(rows, 2, "host"), "host");
  EXPECT_EQ(cell(rows, 2, "device"), report.machine.ranks[0].device);
  EXPECT_EQ(cell(rows, 2, "suite"), "smoke");
}

TEST(Csv, QuotesWhatNeedsIt) {
  const std::string reason = "said \"no\", then\nended";
  const std::string text = csv(std::vector{example::without_time(8, Status::failed, reason)});
  EXPECT_NE(text.find("\"said \"\"no\"\", then\nended\""), std::string::npos) << text;
  const auto rows = parse(text);
  EXPECT_EQ(cell(rows, 1, "reason"), reason);
  EXPECT_EQ(cell(rows, 1, "time.total.p50_us"), "");
}

}  // namespace
}  // namespace moebench
