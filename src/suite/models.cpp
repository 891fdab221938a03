// SPDX-License-Identifier: Apache-2.0
#include "suite/models.h"

#include "base/error.h"
#include "base/text.h"
#include "suite/presets.h"

namespace moebench {
namespace {

constexpr Attention gqa(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim) {
  return {.kind = Attention::Kind::gqa, .heads = heads, .kv_heads = kv_heads, .head_dim = head_dim};
}

/// DeepSeek's sizes; only the number of heads differs.
constexpr Attention mla(std::int64_t heads) {
  return {.kind = Attention::Kind::mla,
          .heads = heads,
          .q_rank = 1536,
          .kv_rank = 512,
          .nope_dim = 128,
          .rope_dim = 64,
          .value_dim = 128};
}

/// What a preset does not say of its model. The config.json is the one that the preset names.
struct Rest {
  std::string_view preset;
  std::int64_t layers, dense_layers, dense_ffn, vocabulary;
  bool tied;
  Attention attention;
  double published_total_b, published_active_b;
  std::string_view source;
};

constexpr Rest kRest[] = {
    {"granite-3.0-1b-a400m", 24, 0, 0, 49155, true, gqa(16, 8, 64), 1.3, 0.4,
     "config.json; totals: its model card"},
    {"granite-3.0-3b-a800m", 32, 0, 0, 49155, true, gqa(24, 8, 64), 3.3, 0.8,
     "config.json; totals: its model card"},
    {"qwen3-30b-a3b", 48, 0, 0, 151936, false, gqa(32, 4, 128), 30.5, 3.3,
     "config.json; totals: its model card"},
    {"olmoe-1b-7b", 16, 0, 0, 50304, false, gqa(16, 16, 128), 6.9, 1.3,
     "config.json; totals: arXiv 2409.02060"},
    {"qwen3-235b-a22b", 94, 0, 0, 151936, false, gqa(64, 4, 128), 235, 22,
     "config.json; totals: its model card"},
    {"gpt-oss-20b", 24, 0, 0, 201088, false, gqa(64, 8, 64), 20.9, 3.6,
     "config.json; totals: arXiv 2508.10925, which counts the output head but not the embeddings as active"},
    {"gpt-oss-120b", 36, 0, 0, 201088, false, gqa(64, 8, 64), 116.8, 5.1,
     "config.json; totals: arXiv 2508.10925, which counts the output head but not the embeddings as active"},
    {"deepseek-v3", 61, 3, 18432, 129280, false, mla(128), 671, 37,
     "config.json; totals: arXiv 2412.19437 (without the multi-token prediction module)"},
    {"kimi-k2", 61, 1, 18432, 163840, false, mla(64), 1000, 32,
     "config.json; totals: arXiv 2507.20534, rounded there (1T total, 32B active)"},
    {"phi-3.5-moe", 32, 0, 0, 32064, false, gqa(32, 8, 128), 41.9, 6.6,
     "config.json; totals: its model card"},
    {"mixtral-8x7b", 32, 0, 0, 32000, false, gqa(32, 8, 128), 46.7, 12.9,
     "config.json; totals: arXiv 2401.04088 and its announcement"},
    {"dbrx", 40, 0, 0, 100352, false, gqa(48, 8, 128), 132, 36, "config.json; totals: its model card"},
    {"mixtral-8x22b", 56, 0, 0, 32000, false, gqa(48, 8, 128), 141, 39,
     "config.json; totals: its announcement"},
};

}  // namespace

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Rest& rest : kRest) names.emplace_back(rest.preset);
  return names;
}

Model find_model(std::string_view preset) {
  const Preset& layer = find_preset(preset);
  for (const Rest& rest : kRest) {
    if (rest.preset != preset) continue;
    return {.name = layer.name,
            .hidden = layer.hidden,
            .ffn = layer.ffn,
            .experts = layer.experts,
            .top_k = layer.top_k,
            .matrices = layer.activation == Activation::swiglu ? 3 : 2,
            .layers = rest.layers,
            .dense_layers = rest.dense_layers,
            .dense_ffn = rest.dense_ffn,
            .shared_experts = layer.shared_experts,
            .vocabulary = rest.vocabulary,
            .tied = rest.tied,
            .attention = rest.attention,
            .published_total_b = rest.published_total_b,
            .published_active_b = rest.published_active_b,
            .source = rest.source};
  }
  throw UsageError(
      cat("the preset '", preset, "' is one layer and no whole model; valid: ", join(model_names(), ", ")));
}

}  // namespace moebench
