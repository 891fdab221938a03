// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "suite/embedded.h"
#include "suite/expect_usage_error.h"
#include "suite/suite_file.h"

namespace moebench {
namespace {

TEST(SuiteFile, ReadsEveryKey) {
  const Suite suite = parse_suite(R"({
    "name": "mine", "question": "Why?", "expectation": "Because.",
    "fixed": {"hidden": 64, "bias": true, "pass": "fwd+bwd"},
    "axes": {"experts": "2:8:*2", "engine": ["loop", "naive-mask"], "top-k": [1, 2]}
  })",
                                  "x.json");
  EXPECT_EQ(suite.name, "mine");
  EXPECT_EQ(suite.question, "Why?");
  EXPECT_EQ(suite.expectation, "Because.");
  EXPECT_EQ(suite.settings, (Settings{{"hidden", "64"},
                                      {"bias", "on"},
                                      {"pass", "fwd+bwd"},
                                      {"experts", "2:8:*2"},
                                      {"engine", "loop,naive-mask"},
                                      {"top-k", "1,2"}}));
}

TEST(SuiteFile, ReadsCasesWhoseValuesVaryTogether) {
  const Suite suite =
      parse_suite(R"({"name": "n", "cases": [{"tokens": 8, "experts": 4}, {"experts": 16, "tokens": 64}],
                                      "axes": {"engine": ["loop", "naive-mask"]}, "fixed": {"hidden": 32}})",
                  "x.json");
  EXPECT_EQ(suite.settings, (Settings{{"engine", "loop,naive-mask"}, {"hidden", "32"}}));
  EXPECT_EQ(suite.cases, (std::vector<Settings>{{{"tokens", "8"}, {"experts", "4"}},
                                                {{"tokens", "64"}, {"experts", "16"}}}));
}

TEST(SuiteFile, NamesTheLineOfAFlagInACase) {
  const char* text = "{\"name\": \"n\",\n\"cases\": [\n{\"experts\": 8},\n{\"expert\": 8}]}";
  expect_usage_error([&] { parse_suite(text, "x.json"); },
                     "x.json:4: unknown flag 'expert'; did you mean 'experts'?");
}

TEST(SuiteFile, NeedsANameOnly) {
  EXPECT_TRUE(parse_suite(R"({"name": "n"})", "x.json").settings.empty());
  expect_usage_error([] { parse_suite("{}", "x.json"); }, "\"name\" is missing");
}

TEST(SuiteFile, NamesFileLineAndKeyOfAnUnknownKey) {
  const char* text = "{\n  \"name\": \"n\",\n  \"fixed\": {\n    \"hidden\": 64,\n    \"expert\": 8\n  }\n}";
  expect_usage_error([&] { parse_suite(text, "dir/x.json"); },
                     "dir/x.json:5: unknown flag 'expert'; did you mean 'experts'?");
  expect_usage_error([] { parse_suite("{\"name\": \"n\",\n\n\"axis\": {}}", "x.json"); },
                     "x.json:3: unknown key 'axis'; did you mean 'axes'?");
}

TEST(SuiteFile, CountsLinesAcrossValuesThatSpanThem) {
  const char* text = "{\n\"name\": \"a\\nb\",\n\"axes\": {\"experts\": [\n2,\n4\n],\n\"ffn\": \"x\"}}";
  expect_usage_error([&] { parse_suite(text, "x.json"); }, "x.json:7: --ffn 'x'");
}

TEST(SuiteFile, RefusesWhatIsMalformedWithItsLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "x.json:1: malformed JSON"},
      {"\n\n{", "x.json:3: malformed JSON"},
      {"{\"name\": \"n\"\n\"axes\": {}}", "x.json:2: malformed JSON"},
      {"{\"name\": \"n\"} trailing", "malformed JSON"},
      {"{\"name\": \"\xff\"}", "malformed JSON"},
      {"{\"name\": 1e999}", "malformed JSON"},
      {"[]", "not an array"},
      {"3", "not a single value"},
      {"\"text\"", "not a single value"},
      {R"({"name": ""})", "\"name\" must be a text"},
      {R"({"name": 3})", "\"name\" must be a text"},
      {R"({"name": ["a"]})", "\"name\" must be a text"},
      {R"({"name": []})", "\"name\" must be a text"},
      {R"({"name": {}})", "\"name\" must be a text"},
      {R"({"name": null})", "\"name\" must not be null"},
      {R"({"name": "a", "name": "b"})", "\"name\" is given twice"},
      {R"({"fixed": 3})", "\"fixed\" must be an object"},
      {R"({"axes": ["experts"]})", "\"axes\" must be an object"},
      {R"({"surprise": {}})", "unknown key 'surprise'"},
      {R"({"surprise": {"experts": 3}})", "unknown key 'surprise'"},
      {R"({"fixed": {"experts": [8]}})", "must be one value"},
      {R"({"fixed": {"experts": "8,16"}})", "must be one value"},
      {R"({"fixed": {"experts": {"n": 8}}})", "must not hold an object"},
      {R"({"axes": {"experts": []}})", "\"experts\" has no value"},
      {R"({"axes": {"experts": [[8]]}})", "array of arrays"},
      {R"({"axes": {"experts": [{}]}})", "must not hold an object"},
      {R"({"axes": {"experts": [8, null]}})", "must not be null"},
      {R"({"axes": {"experts": -8}})", "'-8' is not a whole number"},
      {R"({"axes": {"experts": 8.5}})", "'8.5' is not a whole number"},
      {R"({"axes": {"experts": true}})", "\"experts\" takes N, not true or false"},
      {R"({"axes": {"experts": "1:9:0"}})", "step '0'"},
      {R"({"axes": {"activation": "relu"}})", "unknown activation 'relu'"},
      {R"({"fixed": {"experts": 8}, "axes": {"experts": [4]}})",
       "is in two of \"fixed\", \"axes\" and \"cases\""},
      {R"({"fixed": {"experts": 8}, "cases": [{"experts": 4}]})", "is in two of"},
      {R"({"cases": [{"experts": 4}], "axes": {"experts": [4]}})", "is in two of"},
      {R"({"cases": {"experts": 4}})", "\"cases\" must be an array of objects"},
      {R"({"cases": [4]})", "\"cases\" must be an array of objects"},
      {R"({"cases": []})", "\"cases\" must be an array of objects"},
      {R"({"cases": [{"experts": 4}, 4]})", "\"cases\" must be an array of objects"},
      {R"({"cases": [[{"experts": 4}]]})", "array of arrays"},
      {R"({"cases": [{"experts": [4, 8]}]})", "\"experts\" in \"cases\" must be one value"},
      {R"({"cases": [{"experts": {"n": 4}}]})", "must not hold an object"},
      {R"({"cases": [{"experts": 4, "experts": 8}]})", "\"experts\" is given twice"},
      {R"({"name": "n", "cases": [{"experts": 4}, {"tokens": 4}]})", "must set the same flags"},
      {R"({"name": "n", "cases": [{"experts": 4}, {"experts": 4, "tokens": 4}]})", "must set the same flags"},
      {R"({"axes": [{"experts": 4}]})", "\"axes\" must be an object"},
      {R"({"fixed": {"experts": 8, "experts-per-rank": 4}})", "say the same in two ways"},
      {R"({"fixed": {"experts": 8, "experts": 4}})", "\"experts\" is given twice"},
  };
  for (const auto& [text, words] : cases) {
    expect_usage_error([&] { parse_suite(text, "x.json"); }, words);
    expect_usage_error([&] { parse_suite(text, "x.json"); }, "x.json:");
  }
}

TEST(SuiteFile, TakesTrueAndFalseForSwitchesAlone) {
  const auto parse = [](const std::string& setting) {
    return parse_suite("{\"name\": \"x\",\n\"fixed\": {" + setting + "}}", "x.json");
  };
  EXPECT_EQ(parse("\"bias\": true").settings.at("bias"), "on");
  EXPECT_EQ(parse("\"graph\": false").settings.at("graph"), "off");
  expect_usage_error([&] { parse("\"tokens\": true"); }, "x.json:2: \"tokens\" takes N, not true or false");
  expect_usage_error([&] { parse("\"engine\": false"); }, "\"engine\" takes NAME, not true or false");
}

TEST(SuiteFile, HoldsPresetsMethodAndComments) {
  const Suite suite = parse_suite(R"({
    // why: a comment
    "name": "x", /* another */ "preset": "mixtral-8x7b",
    "method": {"noise": 0.5, "max-time": 4, "interleave": true}})",
                                  "x.json");
  EXPECT_EQ(suite.preset, "mixtral-8x7b");
  EXPECT_EQ(suite.method, (Settings{{"noise", "0.5"}, {"max-time", "4"}, {"interleave", "on"}}));
  expect_usage_error([] { parse_suite("{\"name\": \"x\",\n\"method\": {\"nois\": 1}}", "x.json"); },
                     "x.json:2: unknown flag of \"method\" 'nois'; did you mean 'noise'?");
  expect_usage_error([] { parse_suite(R"({"name": "x", "method": {"noise": [1, 2]}})", "x.json"); },
                     "must be one value");
}

TEST(SuiteFile, SurvivesDeepNesting) {
  expect_usage_error([] { parse_suite(std::string(100000, '['), "x.json"); }, "x.json:1:");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  expect_usage_error([&] { parse_suite(deep, "x.json"); }, "x.json:1:");
}

TEST(SuiteFile, KeepsLongTokensOutOfTheMessage) {
  try {
    parse_suite("{\"name\": \"" + std::string(100000, 'x'), "x.json");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_LT(std::string_view(error.what()).size(), 400u);
  }
}

TEST(SuiteFile, NamesTheNearestBuiltInSuite) {
  expect_usage_error([] { find_suite("paper-gem"); }, "did you mean 'paper-gemm'");
}

TEST(SuiteFile, IsFoundByPath) {
  const auto path = std::filesystem::path(testing::TempDir()) / "moebench_suite_test.json";
  std::ofstream(path) << R"({"name": "from-a-file", "fixed": {"experts": 4}})";
  EXPECT_EQ(find_suite(path.string()).name, "from-a-file");
  std::filesystem::remove(path);
}

TEST(SuiteFile, RefusesWhatCannotBeRead) {
  expect_usage_error([] { find_suite("/nowhere/x.json"); }, "'/nowhere/x.json' cannot be read");
  const auto directory = std::filesystem::path(testing::TempDir()) / "moebench_directory.json";
  std::filesystem::create_directory(directory);
  expect_usage_error([&] { find_suite(directory.string()); }, "cannot be read");
  std::filesystem::remove(directory);
}

TEST(BuiltInSuites, AreNamedAsTheirFilesAndSayWhatTheyAsk) {
  const auto suites = built_in_suites();
  ASSERT_GE(suites.size(), 4u);
  for (std::size_t i = 0; i < suites.size(); ++i) {
    EXPECT_EQ(suites[i].name, embedded_suites()[i].name);
    EXPECT_GT(suites[i].question.size(), 40u) << suites[i].name;
    EXPECT_GT(suites[i].expectation.size(), 40u) << suites[i].name;
  }
}

}  // namespace
}  // namespace moebench
