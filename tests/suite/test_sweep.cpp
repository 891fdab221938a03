// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "suite/expect_usage_error.h"
#include "suite/suite_file.h"
#include "suite/sweep.h"

namespace moebench {
namespace {

Sweep sweep_of(const Settings& command_line, int ranks = 1) {
  SweepRequest request;
  request.command_line = command_line;
  return expand_sweep(request, {.ranks = ranks});
}

Case only_case(const Settings& command_line, int ranks = 1) {
  const Sweep sweep = sweep_of(command_line, ranks);
  EXPECT_EQ(sweep.cases.size(), 1u);
  return sweep.cases.front();
}

std::vector<std::string> titles(const Sweep& sweep) {
  std::vector<std::string> list;
  for (const Case& point : sweep.cases) list.push_back(point.title());
  return list;
}

TEST(Sweep, IsThePapersCaseWithoutFlags) {
  const Case point = only_case({});
  EXPECT_EQ(
      point.shape,
      (Shape{.tokens = 4096, .hidden = 1024, .ffn = 4096, .experts = 8, .top_k = 2, .ranks = 1, .ep = 1}));
  EXPECT_EQ(point.passes, PassSet::fwd_bwd);
  EXPECT_EQ(point.engine, "loop");
  EXPECT_TRUE(point.axes.empty());
  EXPECT_EQ(point.title(), "layer");
}

TEST(Sweep, CountsTokensPerRank) {
  EXPECT_EQ(only_case({{"tokens", "100"}}, 4).shape.tokens, 400);
  EXPECT_EQ(only_case({{"tokens", "100"}, {"ranks", "2"}}, 4).shape.tokens, 200);
  EXPECT_EQ(only_case({{"total-tokens", "101"}}, 4).shape.tokens, 101);
}

TEST(Sweep, CountsExpertsPerRankOverTheExpertParallelSize) {
  EXPECT_EQ(only_case({{"experts-per-rank", "4"}}, 4).shape.experts, 16);
  EXPECT_EQ(only_case({{"experts-per-rank", "4"}, {"ep", "2"}}, 4).shape.experts, 8);
}

TEST(Sweep, SharesExpertsOverAllRanksOfTheCase) {
  EXPECT_EQ(only_case({}, 4).shape.ep, 4);
  EXPECT_EQ(only_case({{"ranks", "2"}}, 4).shape.ep, 2);
}

TEST(Sweep, HasNoExpertParallelismWithoutExperts) {
  // 8 experts cannot be dealt to 3 ranks, but a linear layer has none.
  EXPECT_EQ(only_case({{"subject", "linear"}}, 3).shape.ep, 1);
}

TEST(Sweep, CombinesAxesInTableOrderLastFastest) {
  EXPECT_EQ(titles(sweep_of({{"engine", "naive-mask,loop"}, {"experts", "4,16"}})),
            (std::vector<std::string>{"layer experts=4 engine=naive-mask", "layer experts=4 engine=loop",
                                      "layer experts=16 engine=naive-mask", "layer experts=16 engine=loop"}));
}

TEST(Sweep, MultipliesTheAxesOutForEachCaseOfASuite) {
  const auto path = std::filesystem::path(testing::TempDir()) / "moebench_cases.json";
  std::ofstream(path)
      << R"({"name": "n", "cases": [{"tokens": 8, "experts": 4}, {"tokens": 64, "experts": 16}],
                             "axes": {"engine": ["loop", "naive-mask"]}})";
  SweepRequest request;
  request.suite = path.string();
  EXPECT_EQ(titles(expand_sweep(request, {})),
            (std::vector<std::string>{
                "layer tokens=8 experts=4 engine=loop", "layer tokens=8 experts=4 engine=naive-mask",
                "layer tokens=64 experts=16 engine=loop", "layer tokens=64 experts=16 engine=naive-mask"}));
  EXPECT_EQ(read_sweep(request).values_of("experts"), (std::vector<std::string>{"4", "16"}));
  request.command_line = {{"experts", "2"}, {"engine", "loop"}};  // replaces it in every case
  EXPECT_EQ(titles(expand_sweep(request, {})),
            (std::vector<std::string>{"layer tokens=8", "layer tokens=64"}));
  std::filesystem::remove(path);
}

TEST(Sweep, CountsStreamsOnlyWhereTheEngineHasThem) {
  const Sweep sweep = sweep_of({{"engine", "loop,streams"}, {"streams", "4,16"}});
  ASSERT_EQ(sweep.cases.size(), 3u);
  const auto streams = [&](std::size_t i) { return find_flag("streams").read(sweep.cases[i]); };
  EXPECT_EQ(streams(0), "");
  EXPECT_EQ(streams(1), "4");
  EXPECT_EQ(streams(2), "16");
}

TEST(Sweep, NamesTheEngineThatAutoStandsFor) {
  SweepRequest request;
  request.command_line = {{"dtype", "fp32,bf16"}, {"engine", "auto"}};
  const Sweep sweep = expand_sweep(request, {.engine = [](const Shape& shape) {
                                     return shape.dtype == DType::bf16 ? "grouped" : "loop";
                                   }});
  ASSERT_EQ(sweep.cases.size(), 2u);
  EXPECT_EQ(sweep.cases[0].engine, "loop");
  EXPECT_EQ(sweep.cases[1].engine, "grouped");
}

TEST(Sweep, MeasuresASubjectWithoutExpertsOnceForAllEngines) {
  const Sweep sweep = sweep_of({{"subject", "dense,layer"}, {"engine", "naive-mask,naive-rau"}});
  EXPECT_EQ(titles(sweep), (std::vector<std::string>{"dense engine=loop", "layer engine=naive-mask",
                                                     "layer engine=naive-rau"}));
  EXPECT_EQ(sweep.cases[0].engine, "loop");
  SweepRequest request;
  request.command_line = {{"subject", "linear"}, {"engine", "lop"}};
  expect_usage_error(
      [&] {
        expand_sweep(request, {.words = {{"engine", {"loop"}}}});
      },
      "unknown engine 'lop'");
}

TEST(Sweep, ShowsAxesAsTyped) {
  const Sweep sweep = sweep_of({{"experts-per-rank", "2,4"}, {"hidden", "64"}}, 2);
  EXPECT_EQ(titles(sweep),
            (std::vector<std::string>{"layer experts-per-rank=2", "layer experts-per-rank=4"}));
  EXPECT_EQ(sweep.cases[1].shape.experts, 8);
}

TEST(Sweep, LaterLayersReplaceAWholeAxis) {
  SweepRequest request;
  request.preset = "mixtral-8x7b";
  request.suite = "paper-experts";
  request.environment = {{"experts", "2,4"}, {"engine", "loop"}};
  request.command_line = {{"experts", "8"}};
  const Sweep sweep = expand_sweep(request, {});
  ASSERT_EQ(sweep.cases.size(), 1u);
  EXPECT_EQ(sweep.cases[0].shape.experts, 8);    // command line over environment over suite over preset
  EXPECT_EQ(sweep.cases[0].engine, "loop");      // environment over suite
  EXPECT_EQ(sweep.cases[0].shape.hidden, 1024);  // suite over preset
  EXPECT_EQ(sweep.cases[0].shape.bias, false);
  ASSERT_EQ(sweep.notes.size(), 1u);
  EXPECT_NE(sweep.notes[0].find("overrides activation, experts, ffn, hidden, top-k"), std::string::npos)
      << sweep.notes[0];
}

TEST(Sweep, ALaterLayerReplacesTheOtherWayOfSayingTheSame) {
  SweepRequest request;
  request.environment = {{"experts", "64"}, {"total-tokens", "7"}};
  request.command_line = {{"experts-per-rank", "4"}, {"tokens", "16"}};
  const Case point = expand_sweep(request, {.ranks = 2}).cases.at(0);
  EXPECT_EQ(point.shape.experts, 8);
  EXPECT_EQ(point.shape.tokens, 32);
}

TEST(Sweep, ReplacesAutoByWhatTheMachineHas) {
  SweepRequest request;
  const RunCapabilities machine{.ranks = 2, .backend = "cuda", .comm = "mpi"};
  const Case point = expand_sweep(request, machine).cases.at(0);
  EXPECT_EQ(point.backend, "cuda");
  EXPECT_EQ(point.comm, "mpi");
  request.command_line = {{"backend", "auto,cuda,cpu"}};
  EXPECT_EQ(expand_sweep(request, machine).cases.size(), 2u);  // auto is cuda here
}

TEST(Sweep, RefusesWordsThisMachineDoesNotKnow) {
  SweepRequest request;
  request.command_line = {{"backend", "cudaa"}};
  const RunCapabilities machine{.words = {{"backend", {"cpu", "cuda"}}}};
  expect_usage_error([&] { expand_sweep(request, machine); },
                     "unknown backend 'cudaa'; did you mean 'cuda'?");
}

TEST(Sweep, KeepsCasesThatNeedMoreRanksThanWereLaunched) {
  const Sweep sweep = sweep_of({{"ranks", "1,2,8"}}, 2);
  ASSERT_EQ(sweep.cases.size(), 3u);
  EXPECT_EQ(sweep.cases[2].shape.ep, 8);
}

TEST(Sweep, ScalesWidthsToMultiplesOf16AndTokens) {
  SweepRequest request;
  request.command_line = {{"tokens", "100"}, {"hidden", "1000"}, {"ffn", "40"}};
  request.scale = 0.25;
  Shape shape = expand_sweep(request, {}).cases.at(0).shape;
  EXPECT_EQ(shape.tokens, 25);
  EXPECT_EQ(shape.hidden, 256);  // 250 is nearest to 16 x 16
  EXPECT_EQ(shape.ffn, 16);
  EXPECT_EQ(shape.experts, 8);
  request.scale = 0.001;
  shape = expand_sweep(request, {}).cases.at(0).shape;
  EXPECT_EQ(shape.tokens, 1);
  EXPECT_EQ(shape.hidden, 16);
  request.scale = 1;
  EXPECT_EQ(expand_sweep(request, {}).cases.at(0).shape.hidden, 1000);
}

TEST(Sweep, NeverScalesUp) {
  SweepRequest request;
  request.command_line = {{"tokens", "0"}, {"hidden", "8"}};
  request.scale = 0.5;
  const Shape shape = expand_sweep(request, {}).cases.at(0).shape;
  EXPECT_EQ(shape.tokens, 0);
  EXPECT_EQ(shape.hidden, 8);
}

TEST(Sweep, DropsCasesThatScalingMadeEqualAndSaysSo) {
  SweepRequest request;
  request.command_line = {{"tokens", "1:64:*2"}};
  request.scale = 0.25;
  const Sweep sweep = expand_sweep(request, {});
  EXPECT_EQ(titles(sweep), (std::vector<std::string>{"layer tokens=1", "layer tokens=2", "layer tokens=4",
                                                     "layer tokens=8", "layer tokens=16"}));
  EXPECT_EQ(sweep.notes, std::vector<std::string>{"2 cases are the same as another: dropped"});
}

TEST(Sweep, NamesOnlyTheAxesThatStillVary) {
  SweepRequest request;
  request.command_line = {{"experts", "4,8"}, {"engine", "loop,naive-mask"}};
  request.filter = "engine=loop";
  EXPECT_EQ(titles(expand_sweep(request, {})),
            (std::vector<std::string>{"layer experts=4", "layer experts=8"}));
}

TEST(Sweep, RefusesAFilterThatLeavesNothing) {
  SweepRequest request;
  request.filter = "experts>8";
  expect_usage_error([&] { expand_sweep(request, {}); }, "--filter 'experts>8' leaves no case");
}

TEST(Sweep, CutsAtMaxPointsAndSaysSo) {
  SweepRequest request;
  request.command_line = {{"experts", "2,4,8,16"}};
  request.max_points = 3;
  const Sweep sweep = expand_sweep(request, {});
  EXPECT_EQ(sweep.cases.size(), 3u);
  EXPECT_EQ(sweep.notes, std::vector<std::string>{"--max-points 3 drops the last 1 of 4 cases"});
  request.max_points = 4;
  EXPECT_TRUE(expand_sweep(request, {}).notes.empty());
}

TEST(Sweep, RefusesAnImpossibleShape) {
  expect_usage_error([] { sweep_of({{"top-k", "9"}}); }, "top_k 9 exceeds experts 8");
  expect_usage_error(
      [] {
        sweep_of({{"routing", "one"}, {"routing-via", "planted"}, {"experts", "128"}, {"hidden", "64"}});
      },
      "routing 'one' needs experts <= hidden");
  expect_usage_error([] { sweep_of({}, 3); }, "experts 8 cannot be dealt evenly to ep 3");
}

TEST(Sweep, LeavesImpossibleCombinationsOutAndNamesTheFirst) {
  SweepRequest request;
  request.command_line = {{"experts", "8,16"}, {"top-k", "2,9,17"}};
  const Sweep sweep = expand_sweep(request, {});
  EXPECT_EQ(titles(sweep), (std::vector<std::string>{"layer experts=8 top-k=2", "layer experts=16 top-k=2",
                                                     "layer experts=16 top-k=9"}));
  ASSERT_EQ(sweep.left_out.size(), 3u);
  EXPECT_EQ(sweep.left_out[0].reason, "top_k 9 exceeds experts 8");
  EXPECT_EQ(sweep.left_out[2].point.title(), "layer experts=16 top-k=17");
  EXPECT_EQ(sweep.notes,
            std::vector<std::string>{"3 of 6 cases cannot run and are left out; --plan lists all; the first, "
                                     "'layer experts=8 top-k=9': top_k 9 exceeds experts 8"});
  request.filter = "experts>=16,top-k<=9";
  EXPECT_TRUE(expand_sweep(request, {}).left_out.empty());
}

TEST(Sweep, RefusesAProductOfWhichNothingIsLeftAndNamesTheFirst) {
  expect_usage_error(
      [] {
        sweep_of({{"experts", "4,8"}, {"top-k", "9"}});
      },
      "top_k 9 exceeds experts 4 (in the case 'layer experts=4'; none of the 2 cases can run)");
}

TEST(Sweep, AsksTheMachineWhatCanRunBeforeItCounts) {
  SweepRequest request;
  request.command_line = {{"engine", "loop,streams"}, {"experts", "2,4"}};
  request.max_points = 2;
  const RunCapabilities machine{
      .why_not = [](const Case& point) { return point.engine == "loop" ? "loops are out" : ""; }};
  const Sweep sweep = expand_sweep(request, machine);
  EXPECT_EQ(titles(sweep), (std::vector<std::string>{"layer experts=2", "layer experts=4"}))
      << "possible ones count for --max-points, and name the axes";
  EXPECT_EQ(sweep.left_out.size(), 2u);
  request.command_line["engine"] = "loop";
  request.command_line["experts"] = "2";
  expect_usage_error([&] { expand_sweep(request, machine); }, "loops are out");
}

TEST(Sweep, TakesThePassThatTheSubjectHas) {
  const Sweep sweep = sweep_of({{"subject", "dense,layer,linear"}});
  EXPECT_EQ(titles(sweep),
            (std::vector<std::string>{"dense pass=fwd+bwd", "layer pass=fwd+bwd", "linear pass=fwd"}));
  EXPECT_EQ(only_case({{"subject", "linear"}}).passes, PassSet::fwd);
  EXPECT_EQ(only_case({{"subject", "linear"}, {"pass", "step"}}).passes, PassSet::step)
      << "for the bench to refuse";
}

TEST(Sweep, TakesSeveralPresets) {
  SweepRequest request;
  request.preset = "mixtral-8x7b, dbrx";
  request.command_line = {{"tokens", "8,16"}};
  const Sweep sweep = expand_sweep(request, {});
  ASSERT_EQ(sweep.cases.size(), 4u);
  EXPECT_EQ(sweep.cases[1].shape.hidden, 4096);
  EXPECT_EQ(sweep.cases[3].shape.hidden, 6144);
  EXPECT_EQ(sweep.cases[3].shape.tokens, 16);
  request.preset = "dbrx,mixtral";
  expect_usage_error([&] { expand_sweep(request, {}); }, "unknown preset 'mixtral'");
}

TEST(Sweep, SaysWhichTypedValuesScalingShrank) {
  SweepRequest request;
  request.suite = "paper-scaling";
  request.scale = 0.125;
  EXPECT_TRUE(expand_sweep(request, {}).notes.empty()) << "a suite's own sizes are meant to shrink";
  request.command_line = {{"tokens", "512,1024"}, {"top-k", "1"}};
  EXPECT_EQ(expand_sweep(request, {}).notes,
            std::vector<std::string>{"--scale 0.125 shrinks what was typed, too: tokens 512,1024 → 64,128"});
}

TEST(Sweep, SaysWhichTypedFlagsNoCaseReads) {
  EXPECT_EQ(sweep_of({{"streams", "4"}}).notes,
            std::vector<std::string>{"--streams changes nothing here: only engine streams reads it"});
  EXPECT_EQ(sweep_of({{"exchange", "per-expert"}}).notes.size(), 1u);
  EXPECT_TRUE(sweep_of({{"exchange", "per-expert"}}, 2).notes.empty());
  EXPECT_TRUE(sweep_of({{"streams", "4"}, {"engine", "loop,streams"}}).notes.empty());
}

TEST(Sweep, GivesACaseNoAxisWhereItHasNoValue) {
  EXPECT_EQ(titles(sweep_of({{"ranks", "1,2"}, {"exchange", "fused,per-expert"}}, 2)),
            (std::vector<std::string>{"layer ranks=1", "layer ranks=2 exchange=fused",
                                      "layer ranks=2 exchange=per-expert"}));
}

TEST(Sweep, RefusesSizesThatOverflow) {
  expect_usage_error([] { sweep_of({{"tokens", "9223372036854775807"}}, 2); }, "overflows 64 bits");
  expect_usage_error([] { sweep_of({{"tokens", "9223372036854775807"}}); }, "overflows");
  expect_usage_error([] { sweep_of({{"experts-per-rank", "9223372036854775807"}}, 2); }, "overflows 64 bits");
  expect_usage_error([] { sweep_of({{"hidden", "9223372036854775807"}}); }, "overflows");
}

TEST(Sweep, RefusesTooManyCases) {
  expect_usage_error(
      [] {
        sweep_of({{"tokens", "1:10000:1"}, {"seed", "1:10000:1"}});
      },
      "more than 100000 cases");
}

TEST(Sweep, TellsTheValuesOfOneFlagBeforeTheMachineIsKnown) {
  SweepRequest request;
  EXPECT_EQ(read_sweep(request).values_of("comm"), std::vector<std::string>{"auto"});
  EXPECT_TRUE(read_sweep(request).values_of("ranks").empty());
  EXPECT_EQ(read_sweep(request).max_ranks(), 1);
  request.suite = "paper-scaling";
  const SweepAxes axes = read_sweep(request);
  EXPECT_EQ(axes.values_of("ranks"), (std::vector<std::string>{"1", "2", "4", "8"}));
  EXPECT_EQ(axes.max_ranks(), 8);
  EXPECT_EQ(axes.suite, "paper-scaling");
}

TEST(Sweep, TellsTheOneWordThatHoldsForTheRun) {
  SweepRequest request;
  EXPECT_EQ(read_sweep(request).only("comm"), "auto");
  request.command_line = {{"comm", "mpi"}, {"backend", "cpu,cuda"}};
  EXPECT_EQ(read_sweep(request).only("comm"), "mpi");
  expect_usage_error([&] { read_sweep(request).only("backend"); },
                     "--backend takes one value per run, not cpu,cuda");
}

TEST(BuiltInSuites, ExpandAtFullSizeAndScaled) {
  for (const Suite& suite : built_in_suites()) {
    SweepRequest request;
    request.suite = suite.name;
    EXPECT_GT(expand_sweep(request, {}).cases.size(), 1u) << suite.name;
    request.scale = 0.125;
    EXPECT_GT(expand_sweep(request, {}).cases.size(), 1u) << suite.name;
  }
}

TEST(BuiltInSuites, HaveThePapersSizes) {
  SweepRequest request;
  request.suite = "paper-gemm";
  EXPECT_EQ(expand_sweep(request, {}).cases.size(), 13u);
  request.suite = "paper-experts";
  EXPECT_EQ(expand_sweep(request, {}).cases.size(), 18u);
  request.suite = "moe-tax";
  // Five shapes with two engines each; three of them differ only in what a dense network does not read.
  EXPECT_EQ(expand_sweep(request, {}).cases.size(), 13u);
  request.suite = "paper-scaling";
  const Sweep sweep = expand_sweep(request, {.ranks = 8});
  ASSERT_EQ(sweep.cases.size(), 4u);
  const Shape largest = sweep.cases.back().shape;
  EXPECT_EQ(largest.tokens, 8 * 4096);
  EXPECT_EQ(largest.experts, 32);
  EXPECT_EQ(largest.ep, 8);
}

}  // namespace
}  // namespace moebench
