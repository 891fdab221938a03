// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/text.h"
#include "project/fabric.h"
#include "project/published.h"
#include "suite/expect_usage_error.h"

namespace moebench {
namespace {

const std::string kNumber = R"({"value": 10, "provenance": "published", "source": "a page"})";

std::string a_tier(const std::string& achieved) {
  return cat(R"({"nominal_gbs": )", kNumber, R"(, "achieved_gbs": )", achieved, R"(, "latency_us": )",
             kNumber, "}");
}

/// A fabric whose intra.achieved_gbs is `achieved`, with `more` keys.
std::string a_fabric(const std::string& achieved = kNumber, const std::string& more = "") {
  return cat(R"({"schema": "moebench.fabric/1", "name": "mine", "about": "two hosts", "gpus_per_node": 8,)",
             R"("tiers": "serial", "intra": )", a_tier(achieved), R"(, "inter": )", a_tier(kNumber),
             R"(, "largest_gpus": )", kNumber, R"(, "error_pct": )", kNumber, more, "}");
}

void expect_refused(const std::string& text, const std::string& words) {
  expect_usage_error([&] { parse_fabric(text, "mine.json"); }, words);
}

TEST(Fabrics, OfEveryPresetCanBeReadAndSayTheirSources) {
  const auto names = fabric_names();
  for (const char* name : {"hgx-h100-ndr", "hgx-h200-ndr", "hgx-h800", "gb200-nvl72", "roce-400", "roce-200"})
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  for (const std::string& name : names) {
    const Fabric fabric = find_fabric(name);
    EXPECT_EQ(fabric.name, name);
    for (const Sourced* number :
         {&fabric.intra.nominal_gbs, &fabric.intra.achieved_gbs, &fabric.intra.latency_us})
      EXPECT_GT(number->source.size(), 3u) << name;
  }
  expect_usage_error([] { find_fabric("hgx-h100"); }, "unknown fabric 'hgx-h100'");
}

TEST(Fabrics, HaveTheNumbersOfTheRefit) {
  for (const RefitRow& row : refit(published_tables())) {
    const auto check = [&](const char* preset, bool inter) {
      const Fabric fabric = find_fabric(preset);
      const Tier& tier = inter ? *fabric.inter : fabric.intra;
      EXPECT_EQ(tier.achieved_gbs.provenance, Provenance::fitted) << preset;
      EXPECT_NEAR(tier.achieved_gbs.value, row.line.bytes_per_s / 1e9, 0.005 * tier.achieved_gbs.value)
          << preset;
      EXPECT_NEAR(tier.latency_us.value, row.line.latency_s * 1e6, 0.02 * tier.latency_us.value) << preset;
    };
    if (row.name == "HybridEP dispatch") check("hgx-h100-ndr", true), check("hgx-h200-ndr", true);
    if (row.name == "DeepEP LL dispatch fp8") check("hgx-h800", true);
    if (row.name == "NCCL all-to-all 8 H100") check("hgx-h100-ndr", false), check("roce-400", false);
    if (row.name == "moebench direct 2 H100") check("h100-x2-direct", false);
    if (row.name == "NCCL all-to-all 8 H200") check("hgx-h200-ndr", false);
  }
}

TEST(Fabrics, OfAFileAreRead) {
  const Fabric fabric = parse_fabric(a_fabric(), "mine.json");
  EXPECT_EQ(fabric.gpus_per_node, 8);
  EXPECT_FALSE(fabric.concurrent);
  ASSERT_TRUE(fabric.inter);
  EXPECT_EQ(fabric.inter->latency_us.value, 10);
  EXPECT_EQ(fabric.inter->latency_us.source, "a page");
}

TEST(Fabrics, WithMistakesAreRefusedInOneLine) {
  expect_refused("", "mine.json: malformed JSON");
  expect_refused("{", "mine.json: malformed JSON");
  expect_refused("[]", "mine.json must be an object, not array");
  expect_refused("{}", "mine.json: the key \"schema\" is missing");
  expect_refused(R"({"schema": "moebench.fabric/9"})",
                 "the schema is 'moebench.fabric/9'; valid: moebench.fabric/1");
  expect_refused(a_fabric(kNumber, R"(, "itra": 1)"), "unknown key \"itra\"; did you mean \"intra\"?");
  expect_refused(a_fabric("10"), "intra.achieved_gbs must be an object, not number");
  expect_refused(a_fabric(R"({"value": 10, "provenance": "published"})"),
                 "intra.achieved_gbs: the key \"source\" is missing");
  expect_refused(a_fabric(R"({"value": 10, "provenance": "published", "source": " "})"),
                 "intra.achieved_gbs.source must be a text that is not empty");
  expect_refused(a_fabric(R"({"value": 10, "provenance": "guessed", "source": "x"})"),
                 "unknown provenance 'guessed'");
  for (const char* value : {"-10", "0", "null", "\"10\"", "true", "1e300", "[1]"})
    expect_refused(a_fabric(cat(R"({"value": )", value, R"(, "provenance": "published", "source": "x"})")),
                   "intra.achieved_gbs.value is ");
  expect_refused(a_fabric(R"({"value": NaN, "provenance": "published", "source": "x"})"), "malformed JSON");
  expect_refused(a_fabric(R"({"value": 11, "provenance": "published", "source": "x"})"),
                 "intra.achieved_gbs 11 exceeds nominal_gbs 10");
}

TEST(LineFit, FindsTheLineThroughPointsOnIt) {
  const std::vector<TimedBytes> points{{1e6, 30e-6}, {3e6, 50e-6}, {11e6, 130e-6}};  // 20 µs and 100 GB/s
  const Line line = fit_line(points);
  EXPECT_NEAR(line.latency_s, 20e-6, 1e-12);
  EXPECT_NEAR(line.bytes_per_s, 100e9, 1);
  EXPECT_NEAR(largest_error_pct(line, points), 0, 1e-9);
  // The point is slower than the line by a quarter of the line: the line is 20 % below it.
  EXPECT_NEAR(error_pct(line, {6e6, 100e-6}), -20, 1e-9);
}

TEST(LineFit, WeighsRelativeErrors) {
  // Two pairs around 10 and 1000 s: both means are met in proportion, and the large pair does not rule.
  const Line line = fit_line(std::vector<TimedBytes>{{0, 9}, {0, 11}, {1e3, 900}, {1e3, 1100}});
  EXPECT_NEAR(line.latency_s, (9 / 81.0 + 11 / 121.0) / (1 / 81.0 + 1 / 121.0), 1e-9);
}

TEST(LineFit, RefusesWhatIsNoLine) {
  expect_usage_error([] { fit_line(std::vector<TimedBytes>{}); }, "two different numbers of bytes");
  expect_usage_error(
      [] {
        fit_line(std::vector<TimedBytes>{{1, 1}, {1, 2}});
      },
      "two different numbers of bytes");
  expect_usage_error([] { fit_line(std::vector<TimedBytes>{{1, 2}, {2, 1}}); }, "did not take longer");
  expect_usage_error([] { fit_line(std::vector<TimedBytes>{{1, -2}, {2, 1}}); }, "cannot fit a line through");
}

TEST(PublishedTables, CountNodesAsTheClosedFormDoes) {
  EXPECT_NEAR(expected_groups(2, 256, 8), 1.99, 0.005);
  EXPECT_NEAR(expected_groups(4, 256, 8), 3.61, 0.005);
  EXPECT_NEAR(expected_groups(8, 256, 8), 5.30, 0.006);
  EXPECT_NEAR(expected_groups(16, 256, 8), 6.52, 0.005);
  EXPECT_EQ(expected_groups(1, 64, 8), 1);
}

TEST(PublishedTables, GiveTheTimesAndBytesOfHandWork) {
  const auto tables = published_tables();
  // 16 GPUs: 2 nodes, half of 7.59 MB leaves.
  EXPECT_NEAR(timed_bytes(tables[0], tables[0].entries[0]).bytes, 3.795e6, 1);
  // 16, 32, 64 GPUs of HybridEP: 1.994, 3.614, 5.273 nodes per token of 14336 bytes, 4096 tokens.
  EXPECT_NEAR(timed_bytes(tables[2], tables[2].entries[0]).seconds * 1e6, 1633, 1);
  EXPECT_NEAR(timed_bytes(tables[2], tables[2].entries[1]).seconds * 1e6, 3679, 2);
  EXPECT_NEAR(timed_bytes(tables[2], tables[2].entries[2]).seconds * 1e6, 6196, 6);
}

TEST(PublishedTables, PredictWhatWasHeldOut) {
  for (const RefitRow& row : refit(published_tables())) {
    EXPECT_TRUE(row.failures.empty()) << row.name << ": " << join(row.failures, "; ");
    EXPECT_FALSE(row.held_out.empty()) << row.name;
    EXPECT_LT(row.residual_pct, row.name.starts_with("moebench") ? 8 : 6) << row.name;
  }
}

TEST(PublishedTables, FailIfAnyEntryChangesByATenth) {
  const auto tables = published_tables();
  for (std::size_t t = 0; t < tables.size(); ++t)
    for (std::size_t e = 0; e < tables[t].entries.size(); ++e)
      for (const double factor : {0.9, 1.1}) {
        auto changed = tables;
        changed[t].entries[e].value *= factor;
        EXPECT_FALSE(refit(changed)[t].failures.empty())
            << tables[t].name << ", entry " << e << " × " << factor;
      }
}

}  // namespace
}  // namespace moebench
