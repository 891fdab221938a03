// SPDX-License-Identifier: Apache-2.0
// How many parameters the parts of a model have (docs/projection.md, "Parameters").
#pragma once

#include "moe/model.h"

namespace moebench {

/// Of one expert, routed or shared: 3·H·I for SwiGLU, 2·H·I for GELU.
double expert_parameters(const Model& model);
/// Of one layer's attention.
double attention_parameters(const Model& model);
/// Of one layer's router: H·E.
double router_parameters(const Model& model);
/// Of the network of a layer without experts: 3·H·F.
double dense_parameters(const Model& model);
/// Of the embedding table, and of the output head: V·H.
double table_parameters(const Model& model);

/// Of the whole model.
struct ParameterCounts {
  double experts = 0;  ///< routed
  double attention = 0, shared = 0, dense = 0, router = 0;
  double tables = 0;  ///< embeddings and output head; once if they are tied

  double total() const { return experts + attention + shared + dense + router + tables; }
};
ParameterCounts parameters_of(const Model& model);
/// Those that one token passes: K of E experts, and all of the rest.
double active_parameters(const Model& model);

}  // namespace moebench
