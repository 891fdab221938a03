// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>

#include "suite/expect_usage_error.h"
#include "suite/presets.h"
#include "suite/sweep.h"

namespace moebench {
namespace {

/// Parameters of the experts of one layer, in billions.
double billions(const Preset& preset) {
  const double matrices = preset.activation == Activation::swiglu ? 3 : 2;
  return matrices * static_cast<double>(preset.hidden * preset.ffn * preset.experts) / 1e9;
}

TEST(Presets, MakeOnePossibleCaseEach) {
  for (const Preset& preset : presets()) {
    SweepRequest request;
    request.preset = preset.name;
    const Sweep sweep = expand_sweep(request, {});
    ASSERT_EQ(sweep.cases.size(), 1u) << preset.name;
    const Shape& shape = sweep.cases[0].shape;
    EXPECT_EQ(shape.hidden, preset.hidden);
    EXPECT_EQ(shape.ffn, preset.ffn);
    EXPECT_EQ(shape.experts, preset.experts);
    EXPECT_EQ(shape.top_k, preset.top_k);
    EXPECT_EQ(shape.activation, preset.activation);
    EXPECT_EQ(shape.bias, preset.bias);
  }
}

Case with(const std::string& preset, const Settings& command_line) {
  SweepRequest request;
  request.preset = preset;
  request.command_line = command_line;
  return expand_sweep(request, {}).cases.at(0);
}

TEST(Presets, NameTheGateOfTheirModel) {
  EXPECT_EQ(with("deepseek-v3", {}).gate, "topk") << "unless it is asked for";
  const Case deepseek = with("deepseek-v3", {{"gate", "preset"}});
  EXPECT_EQ(deepseek.gate, "sigmoid");
  EXPECT_EQ(groups_text(deepseek.gate_options.groups), "8:4");
  EXPECT_EQ(deepseek.gate_options.scale, 2.5);
  EXPECT_EQ(with("olmoe-1b-7b", {{"gate", "preset"}}).gate, "softmax-topk");
  EXPECT_EQ(with("mixtral-8x7b", {{"gate", "preset"}}).gate, "topk");
  const Case changed = with("deepseek-v3", {{"gate", "preset"}, {"gate-scale", "1"}, {"groups", "none"}});
  EXPECT_EQ(changed.gate_options.scale, 1) << "what the user says counts";
  EXPECT_FALSE(changed.gate_options.groups.limit());
  for (const Preset& preset : presets())
    EXPECT_NO_THROW(with(std::string(preset.name), {{"gate", "preset"}}));
  expect_usage_error([] { with("", {{"gate", "preset"}}); }, "give --preset as well");
  expect_usage_error([] { with("dbrx", {{"gate", "topk,preset"}}); }, "stands alone");
}

TEST(Presets, HaveDistinctNamesAndASource) {
  std::set<std::string_view> names;
  for (const Preset& preset : presets()) {
    EXPECT_TRUE(names.insert(preset.name).second) << preset.name;
    EXPECT_GT(preset.source.size(), 10u) << preset.name;
  }
}

TEST(Presets, TimesLayersComeNearThePublishedParameterCounts) {
  // Name, MoE layers, parameters of the whole model in billions. Experts hold 85 to 100 % of all of them.
  const std::tuple<const char*, int, double> models[] = {
      {"granite-3.0-1b-a400m", 24, 1.33},
      {"granite-3.0-3b-a800m", 32, 3.3},
      {"qwen3-30b-a3b", 48, 30.5},
      {"olmoe-1b-7b", 16, 6.92},
      {"qwen3-235b-a22b", 94, 235},
      {"gpt-oss-20b", 24, 20.9},
      {"gpt-oss-120b", 36, 116.8},
      {"deepseek-v3", 58, 671},
      {"phi-3.5-moe", 32, 41.9},
      {"mixtral-8x7b", 32, 46.7},
      {"dbrx", 40, 132},
      {"mixtral-8x22b", 56, 141},
  };
  for (const auto& [name, layers, total] : models) {
    const double share = billions(find_preset(name)) * layers / total;
    EXPECT_GT(share, 0.85) << name;
    EXPECT_LT(share, 1.0) << name;
  }
}

TEST(Presets, ThePapersIsTheDefault) {
  SweepRequest request;
  const auto settings = expand_sweep(request, {}).cases.at(0).settings();
  request.preset = "fastmoe";
  EXPECT_EQ(expand_sweep(request, {}).cases.at(0).settings(), settings);
}

TEST(Presets, NameTheNearestForATypo) {
  expect_usage_error([] { find_preset("mixtral8x7b"); }, "did you mean 'mixtral-8x7b'");
}

}  // namespace
}  // namespace moebench
