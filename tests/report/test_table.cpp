// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "report/example.h"
#include "report/grid.h"
#include "report/table.h"

namespace moebench {
namespace {

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Table, ShowsWhatVariesAndCaptionsTheRest) {
  const std::vector<Record> records{example::record(8, "loop", 183420), example::record(16, "loop", 184100),
                                    example::record(32, "loop", 187000)};
  const std::string text = table(records);
  EXPECT_TRUE(holds(text,
                    "experts  time ms       ±  forward ms  backward ms  TFLOP/s  % of limit\n"
                    "───────  ───────  ──────  ──────────  ───────────  ───────  ──────────\n"
                    "      8      183  0.50 %        61.1          122     1.64          50\n"
                    "     16      184  0.50 %        61.4          123     1.63          50\n"
                    "     32      187  0.50 %        62.3          125     1.60          50\n"))
      << text;
  EXPECT_TRUE(holds(text, "engine=loop")) << text;
  EXPECT_FALSE(holds(text, " experts=")) << text;
}

TEST(Table, ShowsAStatusAndItsReasonInPlaceOfATime) {
  const std::vector<Record> records{
      example::record(8, "loop", 1500),
      example::without_time(16, Status::incorrect, "y: error 0.031 exceeds bound 1e-05")};
  const std::string text = table(records);
  EXPECT_TRUE(holds(text, "     16  incorrect\n  └ y: error 0.031 exceeds bound 1e-05\n")) << text;
  EXPECT_FALSE(holds(text, "1000")) << "the time of a wrong result: " << text;
}

TEST(Grid, FoldsLinesBelowTheirLastColumn) {
  EXPECT_EQ(folded("  name   one two three fourth\n\nshort\n", 20),
            "  name   one two\n         three\n         fourth\n\nshort\n");
  EXPECT_EQ(folded("no columns in this line\n", 20), "no columns in this\n    line\n");
  EXPECT_EQ(folded("a/path/without/a/blank/in/it\n", 20), "a/path/without/a/bla\n    nk/in/it\n");
  EXPECT_EQ(folded("as it is, however long", 0), "as it is, however long");
}

std::size_t widest_line(const std::string& text) {
  std::size_t widest = 0;
  for (const auto& line : split(text, '\n')) widest = std::max(widest, display_width(line));
  return widest;
}

TEST(Table, FitsTheTerminalAndSaysWhatItLeavesOut) {
  const std::vector<Record> records{
      example::record(8, "loop", 1500), example::record(16, "naive-mask", 1600),
      example::without_time(32, Status::skipped, "needs 12.0 GB, 8.0 GB are free")};
  for (const std::size_t columns : {40u, 60u, 80u, 200u}) {
    const std::string text = table(records, columns) + stage_table(records[0], columns);
    EXPECT_LE(widest_line(text), columns) << text;
    EXPECT_EQ(holds(text, "too narrow for: "), columns <= 80) << text;
    EXPECT_TRUE(holds(text, "naive-mask") && holds(text, "1.60") && holds(text, "0.50 %")) << text;
  }
  EXPECT_TRUE(holds(table(records, 60), "too narrow for: backward ms, forward µs")) << table(records, 60);
  EXPECT_FALSE(holds(table(records), "too narrow")) << "no terminal: nothing is left out";
}

TEST(Table, OfNothingButFailuresShowsNoFigure) {
  const std::string text = table(std::vector{example::without_time(8, Status::failed, "no memory")});
  EXPECT_TRUE(holds(text, "failed\n  └ no memory\n")) << text;
  EXPECT_FALSE(holds(text, "FLOP")) << text;
}

TEST(Table, AddsTheSettingsThatTellRowsApart) {
  std::vector<Record> records{example::record(8, "loop", 100), example::record(8, "loop", 200)};
  records[1].bench_case.shape.ranks = 2;  // of two reports of one suite
  const auto names = varying(records);
  ASSERT_EQ(names[0].size(), 1u);
  EXPECT_EQ(names[0][0], (std::pair<std::string, std::string>("ranks", "1")));
  EXPECT_EQ(names[1][0].second, "2");
}

TEST(Table, OfOneRecordNeedsNoAxis) {
  const std::string text = table(std::vector{example::record(8, "loop", 100)});
  EXPECT_TRUE(holds(text, "time µs")) << text;
  EXPECT_TRUE(holds(text, "experts=8")) << text;
}

TEST(Table, ShowsEachWarningOnce) {
  std::vector<Record> records{example::record(8, "loop", 100), example::record(16, "loop", 200)};
  for (auto& record : records) record.warnings = {"clocks fell"};
  EXPECT_TRUE(holds(table(records), "! clocks fell (2 points)\n"));
}

TEST(Table, OfOneRecordTellsTheStateOfTheDevice) {
  Record record = example::record(8, "loop", 100);
  EXPECT_TRUE(
      holds(table(std::vector{record}), "\ndevice: 1620–1980 MHz, up to 55 °C, 612 W, 31.2 µJ per token\n"));
  record.device.sm_min_mhz = record.device.sm_max_mhz;
  record.device.energy_uj_per_token = 0;
  EXPECT_TRUE(holds(table(std::vector{record}), "\ndevice: 1980 MHz, up to 55 °C, 612 W\n"));
  EXPECT_FALSE(holds(table(std::vector{record, record}), "device:"));
  record.device = {.unknown = "no library"};
  EXPECT_FALSE(holds(table(std::vector{record}), "device:"));
}

TEST(Table, MarksAnUnknownPrecision) {
  Record record = example::record(8, "loop", 100);
  record.time["total"].device = summarize(std::vector<double>{99, 100, 101});
  EXPECT_TRUE(holds(table(std::vector{record}), "?"));
}

TEST(Table, SaysWhatMakesThePrecisionDoubtful) {
  std::vector<Record> records{example::record(8, "loop", 100), example::record(16, "loop", 100)};
  records[0].stop.flags = {"correlated", "drift"};
  records[0].stop.samples = 400;
  records[0].stop.lag1 = 0.7;
  records[0].stop.effective_n = 35;
  const std::string text = table(records);
  EXPECT_TRUE(holds(
      text, "! samples are correlated (0.70 at lag 1): 400 are worth 35, and ± says so (1 of 2 points)\n"))
      << text;
  EXPECT_TRUE(
      holds(text, "! the level drifts while samples are taken: ± is of this stretch alone (1 of 2 points)\n"))
      << text;
  EXPECT_TRUE(
      holds(text, "! samples have two modes: the median may jump from one to the other (1 of 2 points)\n"))
      << text;
  records[0].stop.flags = records[1].stop.flags = {};
  EXPECT_FALSE(holds(table(records), "!")) << table(records);
}

TEST(Table, SaysWhyAPrecisionIsUnknown) {
  Record record = example::record(8, "loop", 100);
  record.time["total"].device = summarize(std::vector<double>{99, 100, 101});
  EXPECT_TRUE(holds(table(std::vector{record}), "! ±  ?: fewer than 6 samples"));
}

TEST(Table, OfNoRecordsIsEmpty) { EXPECT_EQ(table({}), ""); }

TEST(StageTable, ShowsWhereTheTimeGoes) {
  const std::string text = stage_table(example::record(8, "loop", 4000));
  EXPECT_TRUE(holds(text, "forward   plan            –       –       –         –           –  in experts\n"))
      << text;
  EXPECT_TRUE(holds(text, "forward   experts      1.00  0.50 %  50.0 %       500          50  compute\n"))
      << text;
  EXPECT_TRUE(holds(text, "backward  dispatch     1.00  0.50 %  50.0 %         –           –  –\n")) << text;
  EXPECT_TRUE(holds(text, "2.00 ms in all; the whole, without looking at stages: 4.00 ms")) << text;
}

TEST(StageTable, LeavesOutWhatNeverRanAndColumnsThatNothingFills) {
  Record record = example::record(8, "loop", 4000);
  record.stages.erase(record.stages.begin());  // the fused one
  for (StageRecord& stage : record.stages) stage.floor_us = stage.limit_pct = 0;
  record.stages.push_back(
      {.stage = Stage::collect, .pass = Pass::forward, .time = summarize(std::vector<double>(21, 0.0))});
  const std::string text = stage_table(record);
  EXPECT_FALSE(holds(text, "collect")) << text;
  EXPECT_FALSE(holds(text, "floor") || holds(text, "% of limit") || holds(text, "bound")) << text;
  EXPECT_TRUE(text.starts_with("stages of layer experts=8 engine=loop:\n")) << text;
}

TEST(StageTable, GivesEachTimeThreeDigitsOfItsOwn) {
  Record record = example::record(8, "loop", 4000);
  record.stages[1].time = summarize(example::samples_around(11277.9));
  record.stages[2].time = summarize(example::samples_around(0.7345));
  const std::string text = stage_table(record);
  EXPECT_TRUE(holds(text, " 11278 ") && holds(text, " 0.735 ")) << text;
}

TEST(StageTable, SaysWhereTheSumOfTheStagesIsNotTheWhole) {
  Record record = example::record(8, "loop", 4000);
  EXPECT_TRUE(
      holds(stage_table(record), "! the stages' sum and the whole differ by 50 %, more than their ± ("))
      << stage_table(record);
  record.time["total"] = example::time_record(example::samples_around(2000), 3e11);
  EXPECT_FALSE(holds(stage_table(record), "!")) << stage_table(record);
}

TEST(StageTable, DoubtsALimitThatWasBeaten) {
  Record record = example::record(8, "loop", 2000);
  record.stages[1].limit_pct = 118;
  const std::string text = stage_table(record);
  EXPECT_TRUE(holds(text, "118 !  compute\n")) << text;
  EXPECT_TRUE(holds(text, "! stages: % of limit up to 118: what nothing can beat was beaten")) << text;
}

TEST(Table, DoubtsALimitThatWasBeaten) {
  std::vector<Record> records{example::record(8, "loop", 1500), example::record(16, "loop", 1600)};
  for (Record& record : records) record.stop.flags = {};
  records[0].time["total"].limit_pct = 104.9;
  EXPECT_FALSE(holds(table(records), "!")) << table(records);
  records[0].time["total"].limit_pct = 119.8;
  EXPECT_TRUE(holds(table(records), "120 !\n")) << table(records);
  EXPECT_TRUE(holds(table(records), "! % of limit up to 120: what nothing can beat was beaten"))
      << table(records);
}

TEST(Table, MarksATargetThatWasMissed) {
  std::vector<Record> records{example::record(8, "loop", 1500), example::record(16, "loop", 1600)};
  for (Record& record : records) record.stop.flags = {};
  records[1].stop.reason = "time";
  records[1].stop.unmet = "noise 20 % > target 1 %";
  const std::string text = table(records);
  EXPECT_TRUE(holds(text, "0.50 % !  ")) << text;
  EXPECT_TRUE(holds(text, "! ±: the 1 % that was asked for was missed, marked !")) << text;
  EXPECT_TRUE(holds(text, "(1 of 2 points)")) << text;
  records[1].stop.reason = "samples";  // so many were asked for, and no precision
  EXPECT_FALSE(holds(table(records), "!")) << table(records);
}

TEST(Table, SaysWhereTheMediansOfThePassesDoNotAddUp) {
  std::vector<Record> records{example::record(8, "loop", 1500), example::record(16, "loop", 1600)};
  records[1].time["backward"] = example::time_record(example::samples_around(400), 2e11);
  const std::string text = table(records);
  EXPECT_TRUE(holds(text, "! medians of the passes do not add up to the time's, by up to 42 %")) << text;
}

TEST(StageTable, OfAWrongResultIsEmpty) {
  EXPECT_EQ(stage_table(example::without_time(8, Status::incorrect, "x")), "");
}

TEST(Table, SaysWhichPointsAreUnchecked) {
  std::vector<Record> records{example::record(8, "loop", 1500), example::record(16, "loop", 1600)};
  EXPECT_FALSE(holds(table(records), "check"));
  records[1].check = {};
  const std::string text = table(records);
  EXPECT_TRUE(holds(text, "50  ok\n")) << text;
  EXPECT_TRUE(holds(text, "50  unchecked\n")) << text;
  EXPECT_TRUE(holds(text, "! unchecked: 1 point was measured without checking the result (--check none)\n"))
      << text;
}

}  // namespace
}  // namespace moebench
