// SPDX-License-Identifier: Apache-2.0
#include "project/parameters.h"

namespace moebench {
namespace {

double product(std::int64_t a, std::int64_t b) { return static_cast<double>(a) * static_cast<double>(b); }

}  // namespace

double expert_parameters(const Model& model) {
  return static_cast<double>(model.matrices) * product(model.hidden, model.ffn);
}

double attention_parameters(const Model& model) {
  const Attention& a = model.attention;
  if (a.kind == Attention::Kind::gqa)
    return 2 * product(model.hidden, a.heads * a.head_dim) +
           2 * product(model.hidden, a.kv_heads * a.head_dim);
  return product(model.hidden, a.q_rank) + product(a.q_rank, a.heads * (a.nope_dim + a.rope_dim)) +
         product(model.hidden, a.kv_rank + a.rope_dim) +
         product(a.kv_rank, a.heads * (a.nope_dim + a.value_dim)) +
         product(a.heads * a.value_dim, model.hidden);
}

double router_parameters(const Model& model) { return product(model.hidden, model.experts); }

double dense_parameters(const Model& model) {
  return static_cast<double>(model.matrices) * product(model.hidden, model.dense_ffn);
}

double table_parameters(const Model& model) { return product(model.vocabulary, model.hidden); }

ParameterCounts parameters_of(const Model& model) {
  const auto moe = static_cast<double>(model.moe_layers());
  return {.experts = moe * static_cast<double>(model.experts) * expert_parameters(model),
          .attention = static_cast<double>(model.layers) * attention_parameters(model),
          .shared = moe * static_cast<double>(model.shared_experts) * expert_parameters(model),
          .dense = static_cast<double>(model.dense_layers) * dense_parameters(model),
          .router = moe * router_parameters(model),
          .tables = (model.tied ? 1 : 2) * table_parameters(model)};
}

double active_parameters(const Model& model) {
  ParameterCounts counts = parameters_of(model);
  counts.experts *= static_cast<double>(model.top_k) / static_cast<double>(model.experts);
  return counts.total();
}

}  // namespace moebench
