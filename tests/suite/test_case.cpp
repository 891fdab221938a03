// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/text.h"
#include "suite/case.h"
#include "suite/flag.h"
#include "suite/resolve.h"

namespace moebench {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Case example() {
  Case point;
  point.subject = SubjectKind::dense;
  point.shape = {.tokens = 12, .hidden = 64, .ffn = 96, .experts = 6, .top_k = 3, .ranks = 4, .ep = 2};
  point.shape.activation = Activation::swiglu;
  point.shape.bias = true;
  point.shape.dtype = DType::bf16;
  point.routing = parse_routing("hot:0.5");
  point.passes = PassSet::step;
  point.backend = "cuda";
  point.engine = "naive-rau";
  point.comm = "mpi";
  point.exchange = Exchange::per_expert;
  point.graph = true;
  point.cache = CacheState::flushed;
  point.seed = 7;
  return point;
}

TEST(Case, ListsEverySettingInTableOrder) {
  EXPECT_EQ(example().settings(), (Pairs{{"subject", "dense"},
                                         {"ranks", "4"},
                                         {"ep", "2"},
                                         {"tokens", "3"},
                                         {"hidden", "64"},
                                         {"ffn", "96"},
                                         {"experts", "6"},
                                         {"top-k", "3"},
                                         {"shared-experts", "0"},
                                         {"activation", "swiglu"},
                                         {"bias", "on"},
                                         {"dtype", "bf16"},
                                         {"gate", "topk"},
                                         {"router-dtype", "case"},
                                         {"capacity", "none"},
                                         {"aux-loss", "none"},
                                         {"z-loss", "none"},
                                         {"routing", "hot:0.5"},
                                         {"routing-via", "auto"},
                                         {"placement", "contiguous"},
                                         {"engine", "naive-rau"},
                                         {"backend", "cuda"},
                                         {"comm", "mpi"},
                                         {"exchange", "per-expert"},
                                         {"pass", "step"},
                                         {"graph", "on"},
                                         {"cache", "flushed"},
                                         {"seed", "7"}}));
}

TEST(Case, ListsTotalTokensIfRanksHoldUnequalNumbers) {
  Case point = example();
  point.shape.tokens = 13;
  const Pairs settings = point.settings();
  EXPECT_EQ(settings[3], (std::pair<std::string, std::string>("total-tokens", "13")));
  EXPECT_EQ(settings.size(), example().settings().size());
}

TEST(Case, HasNoExchangeWhereNoRowsTravel) {
  Case point = example();
  point.shape.ep = 1;
  for (const auto& [flag, value] : point.settings()) EXPECT_NE(flag, "exchange") << value;
}

TEST(Case, ComesBackFromItsSettings) {
  for (const std::int64_t tokens : {12, 13}) {
    Case point = example();
    point.shape.tokens = tokens;
    Settings settings;
    for (const auto& [flag, value] : point.settings()) set(settings, flag, value);
    const Case again = resolve(settings, {});
    EXPECT_EQ(again.shape, point.shape);
    EXPECT_EQ(again.routing, point.routing);
    EXPECT_EQ(again.settings(), point.settings());
  }
}

TEST(Case, TitleNamesTheAxesThatVary) {
  Case point;
  EXPECT_EQ(point.title(), "layer");
  point.axes = {{"experts", "8"}, {"engine", "loop"}};
  EXPECT_EQ(point.title(), "layer experts=8 engine=loop");
}

TEST(Case, TitleSaysTheSubjectOnce) {
  Case point;
  point.axes = {{"subject", "layer"}, {"experts", "8"}};
  EXPECT_EQ(point.title(), "layer experts=8");
}

TEST(Case, RunsTheForwardPassFirst) {
  EXPECT_EQ(passes_of(PassSet::fwd), (std::vector{Pass::forward}));
  EXPECT_EQ(passes_of(PassSet::fwd_bwd), (std::vector{Pass::forward, Pass::backward}));
  EXPECT_EQ(passes_of(PassSet::step), (std::vector{Pass::forward, Pass::backward, Pass::sync}));
}

TEST(Flags, EveryStandardValueIsValid) {
  for (const Flag& flag : flags()) {
    if (flag.default_value.empty()) continue;
    Settings settings;
    EXPECT_NO_THROW(set(settings, flag.name, flag.default_value)) << flag.name;
  }
}

TEST(Flags, NameEachOtherAsTheOtherWay) {
  for (const Flag& flag : flags()) {
    if (flag.replaces.empty()) continue;
    EXPECT_EQ(find_flag(flag.replaces).replaces, flag.name);
  }
}

TEST(Flags, NameEveryFormat) {
  std::vector<std::string> names;
  for (const FormatInfo& format : kFormats) names.emplace_back(format.name);
  EXPECT_EQ(find_flag("dtype").value, join(names, "|"));
}

TEST(Case, HasThreadsOnlyWhereTheyAreGiven) {
  const auto threads_of = [](const Case& point) {
    for (const auto& [flag, value] : point.settings())
      if (flag == "threads") return value;
    return std::string("none");
  };
  Case point;
  EXPECT_EQ(threads_of(point), "none");
  find_flag("threads").write(point, "4");
  EXPECT_EQ(point.threads, 4);
  EXPECT_EQ(threads_of(point), "4");
}

}  // namespace
}  // namespace moebench
