// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "report/example.h"
#include "report/record_json.h"

namespace moebench {
namespace {

Record read_back(const Record& record) {
  return record_from_json(Json::parse(text_of(to_json(record))), "test: ");
}

TEST(RecordJson, WritesNumbersAsNumbersAndUnitsInNames) {
  const Json json = to_json(example::record(8, "loop", 200));
  EXPECT_EQ(json["axes"]["experts"], 8);
  EXPECT_TRUE(json["case"]["tokens"].is_number_integer());
  EXPECT_EQ(json["case"]["engine"], "loop");
  EXPECT_DOUBLE_EQ(json["time"]["total"]["p50_us"].get<double>(), 200);
  EXPECT_EQ(json["time"]["total"]["n"], 21);
  EXPECT_EQ(json["stages"][0]["fused_into"], "experts");
  EXPECT_TRUE(json["stages"][0]["time"].is_null());
  EXPECT_EQ(json["stages"][1]["bound"], "compute");
  EXPECT_EQ(json["time"]["total"]["samples_us"].size(), 21u);
}

TEST(RecordJson, WritesWhatFewSamplesCannotKnowAsNullWithoutARemark) {
  Record record = example::record(8, "loop", 200);
  const auto total_of = [&](int n) {
    record.time["total"] = example::time_record(example::samples_around(200, n), 3e11);
    const Json json = to_json(record);
    EXPECT_TRUE(json["warnings"].empty()) << json["warnings"].dump();
    EXPECT_EQ(to_json(read_back(record)), json);
    return json["time"]["total"];
  };
  const Json three = total_of(3), five = total_of(5), fifty = total_of(50), many = total_of(100);
  EXPECT_TRUE(three["p25_us"].is_null() && three["p75_us"].is_null() && three["stdev_us"].is_number());
  EXPECT_TRUE(five["noise_pct"].is_null() && five["p5_us"].is_null() && five["p25_us"].is_number());
  EXPECT_TRUE(fifty["p99_us"].is_null() && fifty["p95_us"].is_number() && fifty["noise_pct"].is_number());
  EXPECT_TRUE(many["p99_us"].is_number());
}

TEST(RecordJson, KeepsWhatIsKnownOfTheSamplesOrder) {
  const Json json = to_json(example::record(8, "loop", 200));
  EXPECT_EQ(json["stop"]["flags"], Json::array({"bimodal"}));
  EXPECT_EQ(json["stop"]["lag1"], 0.25);
  EXPECT_EQ(json["stop"]["effective_n"], 20);
  EXPECT_EQ(json["time"]["total"]["effective_n"], 21);
  Json older = json;
  for (const char* key : {"lag1", "effective_n", "flags"}) older["stop"].erase(key);
  older["time"]["total"].erase("effective_n");
  const Record read = record_from_json(older, "");
  EXPECT_TRUE(std::isnan(read.stop.lag1) && std::isnan(read.time.at("total").device.effective_n));
  EXPECT_TRUE(read.stop.flags.empty());
  EXPECT_TRUE(to_json(read)["stop"]["lag1"].is_null());
}

TEST(RecordJson, ReadsBackAllThatItWrote) {
  const Record record = example::record(8, "loop", 183.42);
  EXPECT_EQ(to_json(read_back(record)), to_json(record));
  const Record again = read_back(record);
  EXPECT_EQ(again.bench_case.settings(), record.bench_case.settings());
  EXPECT_EQ(again.bench_case.axes, record.bench_case.axes);
  EXPECT_EQ(again.id, id_of(again.bench_case));
  EXPECT_EQ(again.time.at("total").samples, record.time.at("total").samples);  // to the last bit
  EXPECT_EQ(again.stages[0].fused_into, Stage::experts);
  EXPECT_EQ(again.stages[1].bound, Bound::compute);
}

TEST(RecordJson, ReadsBackACaseWithUnusualSettings) {
  Record record = example::record(8, "loop", 10);
  record.bench_case.shape.ranks = 3;
  record.bench_case.shape.tokens = 100;  // not even over the ranks: told as total-tokens
  record.bench_case.shape.bias = true;
  record.bench_case.routing = parse_routing("zipf:1.25");
  record.bench_case.axes = {{"routing", "zipf:1.25"}, {"top-k", "02"}, {"x", "0.50"}, {"y", "0.5"}};
  const Record again = read_back(record);
  EXPECT_EQ(again.bench_case.settings(), record.bench_case.settings());
  EXPECT_EQ(again.bench_case.shape, record.bench_case.shape);
  EXPECT_EQ(again.bench_case.axes, record.bench_case.axes);
}

TEST(RecordJson, ShowsNoTimeOfWhatIsNotOk) {
  for (const Status status :
       {Status::incorrect, Status::failed, Status::skipped, Status::timed_out, Status::interrupted}) {
    const Json json = to_json(example::without_time(8, status, "why"));
    for (const char* key : {"time", "host", "device", "stages", "rates", "stop", "ranks", "queue_us",
                            "setup_us", "comm_us", "first_iteration_us", "capture_us"})
      EXPECT_TRUE(json[key].is_null()) << key << " of " << name_of(status);
    EXPECT_EQ(json["reason"], "why");
    EXPECT_EQ(json["load"]["rows_per_expert"]["max"], 4096);
  }
}

TEST(RecordJson, ShowsNoTimeOfAFailedCheckEvenIfTheStatusSaysOk) {
  Record record = example::record(8, "loop", 10);
  record.check.passed = false;
  EXPECT_TRUE(to_json(record)["time"].is_null());
}

TEST(RecordJson, WritesWhatIsNotFiniteAsNullWithAReason) {
  Record record = example::without_time(8, Status::incorrect, "y is not finite");
  record.check.items[0].error = std::nan("");
  const Json json = to_json(record);
  EXPECT_TRUE(json["check"]["items"][0]["error"].is_null());
  EXPECT_EQ(json["warnings"][0], "check.items[0].error is nan");
  // Reading and writing once more adds no second reason.
  EXPECT_EQ(to_json(record_from_json(json, "")), json);
}

TEST(RecordJson, WritesWhatWasNotMeasuredAsNull) {
  Record record = example::record(8, "loop", 10);
  record.time["total"].limit_pct = record.time["total"].floor_us = record.exchange_gbs = 0;
  const Json json = to_json(record);
  EXPECT_TRUE(json["time"]["total"]["limit_pct"].is_null());
  EXPECT_TRUE(json["rates"]["exchange_gbs"].is_null());
  EXPECT_TRUE(json["stages"][2]["bound"].is_null());
  EXPECT_TRUE(json["warnings"].empty());
}

TEST(RecordJson, WritesADeviceThatWasNotReadAsNullWithTheReason) {
  Record record = example::record(8, "loop", 10);
  EXPECT_TRUE(to_json(record)["device_unknown"].is_null());
  EXPECT_EQ(to_json(record)["device"]["energy_uj_per_token"], 31.25);
  EXPECT_EQ(read_back(record).device.clock_limits, record.device.clock_limits);
  record.device = {.unknown = "no library"};
  const Json json = to_json(record);
  EXPECT_TRUE(json["device"].is_null());
  EXPECT_EQ(json["device_unknown"], "no library");
  EXPECT_EQ(read_back(record).device.unknown, "no library");
  Json older = to_json(example::record(8, "loop", 10));
  older.erase("device");
  older.erase("device_unknown");
  EXPECT_EQ(record_from_json(older, "").device.readings, 0);
}

TEST(RecordJson, ReadsAPointFromBeforeSettingsWereAddedAsTheSameCase) {
  const Record record = example::record(8, "loop", 10);
  Json older = to_json(record);
  older["case"].erase("graph");
  older["case"].erase("cache");
  older["memory"].erase("at_peak");
  for (const char* key : {"math", "queue_us", "comm_us", "capture_us", "device", "device_unknown"})
    older.erase(key);
  const Record read = record_from_json(older, "");
  EXPECT_EQ(read.bench_case.settings(), record.bench_case.settings());
  EXPECT_EQ(id_of(read.bench_case), record.id);
  EXPECT_EQ(read.time.at("total").device.p50, record.time.at("total").device.p50);
}

TEST(RecordJson, KeepsAnUnknownIntervalUnknown) {
  Record record = example::record(8, "loop", 10);
  record.time["total"].device = summarize(std::vector<double>{1, 2, 3});
  const Json json = to_json(record);
  EXPECT_TRUE(json["time"]["total"]["ci95_low_us"].is_null());
  EXPECT_EQ(record_from_json(json, "").time["total"].device.ci95_high, HUGE_VAL);
}

TEST(RecordJson, WritesSamplesOnlyIfItHasThem) {
  Record record = example::record(8, "loop", 10);
  record.time["total"].samples.clear();
  EXPECT_FALSE(to_json(record)["time"]["total"].contains("samples_us"));
}

TEST(RecordJson, SurvivesTextThatIsNotUtf8) {
  Record record = example::without_time(8, Status::failed, "library said \xff\xfe");
  EXPECT_NO_THROW(Json::parse(text_of(to_json(record))));
}

TEST(RecordJson, PassesOverWhatItDoesNotKnow) {
  Json json = to_json(example::record(8, "loop", 10));
  json["future"] = 1;
  json["case"]["future"] = "x";
  EXPECT_NO_THROW(record_from_json(json, ""));
}

TEST(RecordJson, RefusesHostileValuesNamingTheirPlace) {
  const auto refusal = [](const std::function<void(Json&)>& spoil) -> std::string {
    Json json = to_json(example::record(8, "loop", 10));
    spoil(json);
    try {
      record_from_json(json, "a.json: ");
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal([](Json& j) { j["time"]["total"]["p50_us"] = "fast"; }),
            "a.json: time.total.p50_us: expected a number, found \"fast\"");
  EXPECT_EQ(refusal([](Json& j) { j["time"]["total"]["n"] = 1e300; }),
            "a.json: time.total.n: expected a whole number, found 1e+300");
  EXPECT_EQ(refusal([](Json& j) { j["time"]["total"]["n"] = 1ll << 40; }),
            "a.json: time.total.n: expected a smaller whole number, found 1099511627776");
  EXPECT_EQ(refusal([](Json& j) { j["case"]["ranks"] = 0; }),
            "a.json: case.ranks: expected a whole number from 1 to 1048576, found 0");
  EXPECT_EQ(refusal([](Json& j) { j["stages"] = 3; }), "a.json: stages: expected a list, found 3");
  EXPECT_EQ(refusal([](Json& j) { j["time"]["total"]["samples_us"][0] = nullptr; }),
            "a.json: time.total.samples_us: expected numbers, found null");
  for (const auto& spoil : std::vector<std::function<void(Json&)>>{
           [](Json& j) { j = 3; }, [](Json& j) { j["time"] = true; }, [](Json& j) { j["status"] = "?"; },
           [](Json& j) { j["case"] = "x"; }, [](Json& j) { j["case"]["hidden"] = -1; },
           [](Json& j) { j["case"]["dtype"] = "fp7"; }, [](Json& j) { j["axes"]["experts"] = Json::array(); },
           [](Json& j) { j["stages"][0]["stage"] = "route"; }, [](Json& j) { j["stages"][0]["pass"] = 1; },
           [](Json& j) { j["warnings"] = "w"; }, [](Json& j) { j["check"]["passed"] = 1; }})
    EXPECT_NE(refusal(spoil), "accepted");
}

TEST(RecordJson, KeepsWhereACheckWasWorstAndWhatWasCheckedAgain) {
  Record record = example::record(8, "loop", 100);
  record.check.items[0].where = "token 17";
  record.check.rechecked_sets = 2;
  record.check.recheck_items = {{"y", 2e-7, 1e-5, "token 3 of input set 1"}};
  const Json json = to_json(record);
  EXPECT_EQ(json["check"]["verdict"], "ok");
  EXPECT_EQ(json["check"]["items"][0]["where"], "token 17");
  const Record read = record_from_json(json, "");
  EXPECT_EQ(read.check.items[0].where, "token 17");
  EXPECT_EQ(read.check.rechecked_sets, 2);
  EXPECT_EQ(read.check.recheck_items.at(0).where, "token 3 of input set 1");
}

TEST(RecordJson, ReadsAReportFromBeforeThereWereVerdicts) {
  Json json = to_json(example::record(8, "loop", 100));
  for (const char* key : {"verdict", "recheck"}) json["check"].erase(key);
  for (Json& item : json["check"]["items"])
    for (const char* key : {"where", "why_not"}) item.erase(key);
  const Record old = record_from_json(json, "");
  EXPECT_TRUE(has_times(old));
  EXPECT_EQ(verdict_of(old), "ok");
  json["check"] = {{"mode", "none"}, {"passed", false}, {"items", Json::array()}};
  EXPECT_EQ(verdict_of(record_from_json(json, "")), "unchecked");
}

TEST(RecordJson, NamesWhatIsSaidInTwoWays) {
  const Json point = to_json(example::record(8, "loop", 1000));
  const Json& load = point["load"]["rows_per_expert"];
  EXPECT_EQ(load["imbalance"], 3.0);
  EXPECT_EQ(load["maxvio"], 3.0);
  EXPECT_EQ(load["max_over_mean"], 4.0);
  EXPECT_EQ(point["ranks"]["p50_us"], point["ranks"]["median_us"]);
  EXPECT_EQ(point["ranks"]["rows"], Json::array({8000.0, 8384.0}));
  EXPECT_EQ(point["ranks"]["tokens"], Json::array({2048.0, 2048.0}));
}

TEST(RecordJson, HasDropsAndLossesOnlyWhereThereCanBeSome) {
  Record record = example::record(8, "loop", 1000);
  const Json point = to_json(record);
  EXPECT_EQ(point["load"]["drops"]["dropped_pct"], 12.5);
  EXPECT_EQ(point["load"]["drops"]["lost_tokens"], 3);
  EXPECT_EQ(record_from_json(point, "").drops->kept_weight_pct, 90.25);
  EXPECT_EQ(record_from_json(point, "").losses->aux, 0.0125);
  record.drops.reset(), record.losses.reset();
  const Json without = to_json(record);
  EXPECT_FALSE(without["load"].contains("drops") || without["load"].contains("losses"));
  EXPECT_FALSE(record_from_json(without, "").drops || record_from_json(without, "").losses);
}

TEST(RecordJson, ReadsRanksByEitherName) {
  const Json point = to_json(example::record(8, "loop", 1000));
  for (const char* gone : {"median_us", "p50_us"}) {
    Json one = point;
    one["ranks"].erase(gone);
    EXPECT_EQ(record_from_json(one, "").ranks.median_us, (std::vector<double>{900, 1000})) << gone;
  }
}

TEST(RecordJson, WritesNoSlowestRankWhereItCannotBeTold) {
  Record record = example::record(8, "loop", 1000);
  record.ranks.slowest.reset();
  const Json point = to_json(record);
  EXPECT_TRUE(point["ranks"]["slowest"].is_null());
  EXPECT_FALSE(record_from_json(point, "").ranks.slowest.has_value());
}

}  // namespace
}  // namespace moebench
