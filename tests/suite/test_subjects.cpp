// SPDX-License-Identifier: Apache-2.0
// What a subject does not read tells no cases apart.
#include <gtest/gtest.h>

#include "suite/sweep.h"

namespace moebench {
namespace {

Sweep sweep_of(const Settings& command_line) {
  SweepRequest request;
  request.command_line = command_line;
  return expand_sweep(request, {.ranks = 1});
}

std::vector<std::string> titles(const Sweep& sweep) {
  std::vector<std::string> list;
  for (const Case& point : sweep.cases) list.push_back(point.title());
  return list;
}

TEST(Subjects, MeasuresOnceWhatDiffersOnlyInSettingsThatItsSubjectDoesNotRead) {
  const Sweep dense = sweep_of({{"subject", "dense"}, {"experts", "8,64"}, {"routing", "random,one"}});
  EXPECT_EQ(dense.cases.size(), 1u);
  EXPECT_EQ(sweep_of({{"subject", "dense"}, {"top-k", "1,2"}}).cases.size(), 2u);
  EXPECT_EQ(sweep_of({{"subject", "linear"}, {"top-k", "1,2"}, {"activation", "gelu,swiglu"}}).cases.size(),
            1u);
  const Sweep wide = sweep_of({{"subject", "dense"}, {"top-k", "40"}, {"experts", "64"}});
  EXPECT_GE(wide.cases.at(0).shape.experts, 40) << "the shape stays possible";
  const Sweep both = sweep_of({{"subject", "dense,layer"}, {"experts", "8,64"}});
  EXPECT_EQ(titles(both), (std::vector<std::string>{"dense", "layer experts=8", "layer experts=64"}));
}

TEST(Subjects, ShowsOfADenseCaseWhatItReads) {
  std::string names;
  for (const auto& [name, value] : sweep_of({{"subject", "dense"}}).cases.at(0).shown_settings())
    names += name + " ";
  EXPECT_EQ(names.find("gate"), std::string::npos) << names;
  EXPECT_EQ(names.find("routing"), std::string::npos) << names;
  EXPECT_EQ(names.find(" experts"), std::string::npos) << names;
  EXPECT_NE(names.find("top-k"), std::string::npos) << names;
}

}  // namespace
}  // namespace moebench
