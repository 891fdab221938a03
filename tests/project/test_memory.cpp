// SPDX-License-Identifier: Apache-2.0
// The numbers here were worked out by hand from the published sizes, as docs/projection.md shows them.
#include <gtest/gtest.h>

#include <cmath>

#include "project/memory_plan.h"
#include "project/parameters.h"
#include "suite/expect_usage_error.h"
#include "suite/models.h"
#include "suite/presets.h"

namespace moebench {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

MemoryUse use_of(const char* preset, const Layout& layout, const MemoryChoices& choices = {},
                 double overload = 1) {
  return memory_of(find_model(preset), layout, choices, overload);
}

double state_gib(const MemoryUse& use) { return (use.weights + use.gradients + use.optimizer) / kGiB; }

TEST(Models, AreKnownForEveryPresetOfAModel) {
  EXPECT_EQ(model_names().size() + 1, presets().size());  // but for the paper's layer
  expect_usage_error([] { find_model("fastmoe"); }, "the preset 'fastmoe' is one layer and no whole model");
  expect_usage_error([] { find_model("deepseek-v2"); }, "did you mean");
}

TEST(Models, HaveAsManyParametersAsTheirAuthorsSay) {
  for (const std::string& name : model_names()) {
    const Model model = find_model(name);
    const double total = parameters_of(model).total() / 1e9, active = active_parameters(model) / 1e9;
    // Published totals are rounded, to as little as one figure for Kimi-K2.
    EXPECT_NEAR(total, model.published_total_b, 0.03 * model.published_total_b) << name;
    // gpt-oss does not count its embeddings as active: a tenth of the active parameters of 120b, a sixth of 20b.
    const double apart = name.starts_with("gpt-oss") ? table_parameters(model) / 1e9 : 0;
    EXPECT_NEAR(active - apart, model.published_active_b, 0.06 * model.published_active_b + 0.05) << name;
    EXPECT_GT(model.source.size(), 10u) << name;
  }
}

TEST(Models, HaveTheParametersOfHandWork) {
  const Model deepseek = find_model("deepseek-v3");
  EXPECT_EQ(expert_parameters(deepseek), 44040192);  // 3 · 7168 · 2048
  // 7168·1536 + 1536·128·192 + 7168·576 + 512·128·256 + 128·128·7168
  EXPECT_EQ(attention_parameters(deepseek), 187105280);
  EXPECT_NEAR(parameters_of(deepseek).experts / 1e9, 653.9, 0.05);  // 58 · 256 · 44.04 M
  struct Expected {
    const char* name;
    double total, active;
  };
  for (const Expected& e : {Expected{"deepseek-v3", 671.0, 37.6},
                            {"kimi-k2", 1026, 32.9},
                            {"qwen3-235b-a22b", 235.1, 22.2},
                            {"qwen3-30b-a3b", 30.5, 3.4},
                            {"mixtral-8x7b", 46.7, 12.9}}) {
    EXPECT_NEAR(parameters_of(find_model(e.name)).total() / 1e9, e.total, e.total > 1000 ? 0.5 : 0.05)
        << e.name;
    EXPECT_NEAR(active_parameters(find_model(e.name)) / 1e9, e.active, 0.05) << e.name;
  }
}

TEST(Memory, HoldsTheParametersOfTheFullestGpu) {
  const HeldParameters held =
      held_parameters(find_model("deepseek-v3"), {.gpus = 1024, .tp = 2, .pp = 8, .ep = 64});
  EXPECT_NEAR(held.experts / 1e9, 1.277, 0.001);  // 653.9 / (8 · 64)
  // (11.41 attention + 2.55 shared + 1.19 dense) / 16 + 0.106 router / 8 + 0.927 table / 2
  EXPECT_NEAR(held.rest / 1e9, 1.424, 0.001);
}

TEST(Memory, KeepsTheStateOfThePublishedLayouts) {
  struct Expected {
    const char* name;
    Layout layout;
    double gib;
  };
  // State: 6 bytes and 12 over the replicas. DeepSeek-V3 on 1024: 1.277·(6 + 12/2) + 1.424·(6 + 12/64) = 24.1 GB.
  for (const Expected& e : {Expected{"deepseek-v3", {.gpus = 1024, .tp = 2, .pp = 8, .ep = 64}, 22.5},
                            {"deepseek-v3", {.gpus = 256, .pp = 4, .ep = 64}, 70.2},
                            {"deepseek-v3", {.gpus = 2048, .pp = 16, .ep = 64}, 17.8},
                            {"kimi-k2", {.gpus = 256, .pp = 4, .ep = 64}, 86.7},
                            {"qwen3-235b-a22b", {.gpus = 256, .tp = 2, .pp = 8, .ep = 32}, 19.5}})
    EXPECT_NEAR(state_gib(use_of(e.name, e.layout)), e.gib, 0.07) << e.name << " " << name_of(e.layout);
}

TEST(Memory, PutsBothTablesOnTheOneStage) {
  // With one table 38.1 GiB; the output head, 151936 · 2048 at 6 + 12/16 bytes, is on the same GPU: 1.96 GiB more.
  EXPECT_NEAR(state_gib(use_of("qwen3-30b-a3b", {.gpus = 16, .ep = 16})), 38.1 + 1.96, 0.05);
  const Model granite = find_model("granite-3.0-1b-a400m");  // its head is the embedding table
  EXPECT_EQ(parameters_of(granite).tables, table_parameters(granite));
}

TEST(Memory, CountsAStageOfAPublishedMeasurement) {
  // arXiv 2502.07846: 4 MoE layers per stage, TP 2, EP 8, shared expert and router not split: 11.64 GiB of bf16 weights
  // there, and 86 GiB for the stage in one piece.
  const Model m = find_model("deepseek-v3");
  const double unsplit = expert_parameters(m) + router_parameters(m);
  const double split = 4 * (256 / 8 * expert_parameters(m) + attention_parameters(m) / 2 + unsplit);
  EXPECT_NEAR(split / 1e9, 6.19, 0.01);
  EXPECT_NEAR(2 * split / kGiB, 11.54, 0.01);
  EXPECT_NEAR(2 * 4 * (256 * expert_parameters(m) + attention_parameters(m) + unsplit) / kGiB, 85.7, 0.1);
}

TEST(Memory, TakesTheBytesOfTheOptimizer) {
  const auto bytes = [](MemoryChoices choices, double replicas) {
    const StateBytes state = state_bytes(choices, replicas);
    return state.weight + state.gradient + state.optimizer;
  };
  EXPECT_EQ(bytes({}, 64), 6 + 12.0 / 64);
  EXPECT_EQ(bytes({.distributed_optimizer = false}, 64), 18);
  EXPECT_EQ(bytes({.optimizer = OptimizerKind::adamw_bf16}, 64), 6 + 8.0 / 64);
  EXPECT_EQ(bytes({.optimizer = OptimizerKind::muon}, 64), 6 + 8.0 / 64);
  EXPECT_EQ(bytes({.fp8_weights = true}, 64), 5 + 12.0 / 64);
  EXPECT_EQ(bytes({.offload_optimizer = true}, 1), 6);
}

TEST(Memory, KeepsTheActivationsOfTheExpertsToo) {
  const Model m = find_model("deepseek-v3");
  EXPECT_NEAR(attention_activations(m, 4096) / 1e9, 0.823, 0.001);
  // 4·4096·7168 + 2·8·4096·(7168 + 3·2048) + 6·4096·2048 = 117.4 + 872.4 + 50.3 MB
  EXPECT_NEAR(moe_activations(m, 4096, 1) / 1e9, 1.040, 0.001);
  EXPECT_NEAR(moe_activations(m, 4096, 2) / 1e9, 1.040 + 0.872, 0.001);
  EXPECT_NEAR((attention_activations(m, 4096) + moe_activations(m, 4096, 1)) / 1e9, 1.86, 0.005);
  EXPECT_NEAR(dense_activations(m, 4096) / 1e9, 0.1174 + 0.4530, 0.001);  // 4TH + 6·4096·18432
}

TEST(Memory, KeepsMoreWhereStagesAreInterleaved) {
  EXPECT_EQ(layers_in_flight({.pp = 4, .vp = 4}), 1 + 3.0 / 16);
  EXPECT_EQ(layers_in_flight({.pp = 8}), 1);
  // 256 GPUs, PP 4, VP 4: 75 GB of state and 61 layers · 1.1875 · 1.86 GB (three of them without experts): 210 GB.
  const MemoryUse use = use_of("deepseek-v3", {.gpus = 256, .pp = 4, .vp = 4, .ep = 64});
  EXPECT_NEAR((state_gib(use) * kGiB + use.activations) / 1e9, 210, 2.1);
  // 1024 GPUs, TP 2, PP 8, VP 4: 24 + 69 GB, more than an H100 has: that recipe recomputes.
  const MemoryUse h100 = use_of("deepseek-v3", {.gpus = 1024, .tp = 2, .pp = 8, .vp = 4, .ep = 64});
  EXPECT_NEAR(state_gib(h100) * kGiB / 1e9, 24, 0.2);
  EXPECT_NEAR(h100.activations / 1e9, 69, 1);
}

TEST(Memory, KeepsTheLogitsOfTheOnlyStage) {
  const MemoryUse use = use_of("qwen3-30b-a3b", {.gpus = 16, .ep = 16});
  // 48 layers of 0.487 GB, and fp32 logits: 4 · 4096 · 151936.
  EXPECT_NEAR(use.activations / 1e9, 23.4 + 2.49, 0.05);
}

TEST(Memory, KeepsLessTheMoreIsComputedAgain) {
  const Layout layout{.gpus = 1024, .tp = 2, .pp = 8, .ep = 64};
  double before = INFINITY;
  for (const auto recompute : {Recompute::none, Recompute::attention, Recompute::moe, Recompute::full}) {
    const double now = use_of("deepseek-v3", layout, {.recompute = recompute}).activations;
    EXPECT_LT(now, before) << name_of(recompute);
    before = now;
  }
  // The inputs of 61 layers, 2 · 2048 · 7168 each, and one whole layer of 2048 tokens.
  EXPECT_NEAR(before / 1e9, 61 * 0.02936 + 0.823 / 2 + 1.040 / 2, 0.01);
}

TEST(Memory, MakesRoomForTheRowsThatArrive) {
  const Layout layout{.gpus = 8, .ep = 8};
  const double sent = 128 * 8 * 7168 * 2.0;
  const auto exchange = [&](MemoryChoices choices) {
    choices.tokens = 128;
    return use_of("deepseek-v3", layout, choices).exchange - sent;
  };
  EXPECT_EQ(exchange({}), 0);  // they are kept for backward, and counted there
  EXPECT_EQ(exchange({.buffers = ExchangeBuffers::worst}), 8.0 * 128 * 7168 * 2);
  EXPECT_EQ(exchange({.buffers = ExchangeBuffers::per_expert}), 32.0 * 8 * 128 * 7168 * 2);  // 470 MB
  EXPECT_EQ(exchange({.buffers = ExchangeBuffers::capacity, .capacity_factor = 1.25}), 1.25 * sent);
  EXPECT_EQ(use_of("deepseek-v3", {.gpus = 8}).exchange, 0);
}

TEST(Memory, NamesTheMostTokensThatFit) {
  const Model model = find_model("deepseek-v3");
  const Layout layout{.gpus = 1024, .tp = 2, .pp = 8, .ep = 64};
  MemoryChoices choices;
  for (const double overload : {1.0, 4.0}) {
    choices.tokens = 4096;
    choices.tokens = fit_of(model, layout, choices, overload, 80 * kGiB).max_tokens;
    EXPECT_GE(fit_of(model, layout, choices, overload, 80 * kGiB).free, 0);
    choices.tokens += 1;
    EXPECT_LT(fit_of(model, layout, choices, overload, 80 * kGiB).free, 0);
  }
  EXPECT_EQ(fit_of(model, layout, choices, 1, 10 * kGiB).max_tokens, 0);
}

TEST(Memory, NamesTheFewestGpusThatFit) {
  const Model model = find_model("deepseek-v3");
  Layout layout{.gpus = 256, .pp = 4, .ep = 64};
  const MemoryChoices choices{.recompute = Recompute::full};
  const double gpu = 60 * kGiB;
  const Fit fit = fit_of(model, layout, choices, 1, gpu);
  EXPECT_LT(fit.free, 0);
  ASSERT_TRUE(fit.smallest_gpus);
  EXPECT_EQ(*fit.smallest_gpus % layout.unit(), 0);
  layout.gpus = *fit.smallest_gpus;
  EXPECT_GE(fit_of(model, layout, choices, 1, gpu).free, 0);
  layout.gpus -= layout.unit();
  EXPECT_LT(fit_of(model, layout, choices, 1, gpu).free, 0);
  // 6 bytes of 2.55 B + 4.74 B parameters, 40.7 GiB, do not fit into 30 whatever the number of GPUs.
  const Fit never = fit_of(model, layout, choices, 1, 30 * kGiB);
  EXPECT_FALSE(never.smallest_gpus);
  EXPECT_GT(never.min_shortfall, 10 * kGiB);
}

TEST(Layouts, MustDivide) {
  const Model m = find_model("deepseek-v3");
  EXPECT_EQ(why_not({.gpus = 1024, .tp = 2, .pp = 8, .ep = 64}, m), "");
  EXPECT_EQ(why_not({.gpus = 7, .ep = 7}, m), "--ep 7 does not divide the 256 experts of deepseek-v3");
  EXPECT_EQ(why_not({.gpus = 3, .tp = 3}, m),
            "--tp 3 does not divide the 128 attention heads of deepseek-v3");
  EXPECT_EQ(why_not({.gpus = 1000, .tp = 2, .pp = 8}, m),
            "--gpus 1000 is no multiple of --tp 2 times --pp 8 = 16");
  EXPECT_EQ(why_not({.gpus = 96, .pp = 2, .ep = 64}, m),
            "--gpus 96 is no multiple of --ep 64 times --pp 2 = 128");
  EXPECT_EQ(why_not({.gpus = 62, .pp = 62}, m), "--pp 62 exceeds the 61 layers of deepseek-v3");
  EXPECT_EQ(why_not({.gpus = 16, .vp = 2}, m), "--vp 2 needs --pp of at least 2");
  EXPECT_EQ(why_not({.gpus = 16, .etp = 3}, m),
            "--etp 3 does not divide the 2048 columns of an expert of deepseek-v3");
}

TEST(MemoryPlan, FindsTheFewestGpusForATrillionParameters) {
  const MemoryPlan plan = plan_memory(find_model("kimi-k2"), {.choices = {.recompute = Recompute::full}});
  const PlannedLayout& best = plan.layouts.front();
  EXPECT_TRUE(best.fits_at_all());
  EXPECT_EQ(best.fits.size(), 4u);
  for (const PlannedLayout& other : plan.layouts)
    if (other.fits_at_all()) {
      EXPECT_GE(other.layout.gpus, best.layout.gpus) << name_of(other.layout);
    }
  EXPECT_NE(json_of(plan).find("\"schema\": \"moebench.memory/1\""), std::string::npos);
}

TEST(MemoryPlan, LeavesOutWhatCannotBeUnlessItIsAlone) {
  const Model model = find_model("deepseek-v3");
  const MemoryPlan plan = plan_memory(model, {.gpus = 1024, .ep = {7, 64}});
  EXPECT_EQ(plan.layouts.size(), 1u);
  EXPECT_EQ(plan.left_out, 1u);
  EXPECT_EQ(plan.layouts[0].layout.tp, 1);
  expect_usage_error([&] { plan_memory(model, {.gpus = 1024, .ep = {7}}); }, "--ep 7 does not divide");
  expect_usage_error(
      [&] {
        plan_memory(model, {.gpus = 1023, .ep = {7, 64}});
      },
      "none of 2 layouts is possible");
}

}  // namespace
}  // namespace moebench
