// SPDX-License-Identifier: Apache-2.0
// Gate `gshard`: K = 2, g = the two largest of a softmax over all experts divided by their sum, p = g. The second choice is
// taken with probability min(1, 2·g_2): it goes nowhere if 2·g_2 <= u, u uniform in [0, 1) by (seed, step, token). An expert
// takes its even share of a group, first choices before second ones, unless --capacity and --drop-policy say otherwise. A
// second choice that is not taken by chance needs no room, as in the router of NLLB-MoE in Hugging Face's transformers.
// Source: GShard (arXiv 2006.16668), section 2.2 and algorithm 1; C = 2N/E of a group of N tokens. Its loss is --aux-loss (of both choices, where GShard counts the first).
#include "base/text.h"
#include "layer/gates/entries.h"

namespace moebench {
namespace {

std::unique_ptr<GateDefinition> define(const Shape& shape, const GateOptions& options) {
  return kTopkGate.define(shape, options);
}

std::string why_not(const Shape& shape, const GateOptions& options) {
  if (shape.top_k != 2) return cat("gate gshard makes two choices, not top_k ", shape.top_k);
  return why_not_plain(shape, options);
}

}  // namespace

constinit const GateEntry kGshardGate{.name = "gshard",
                                      .help = "GShard: top-k 2, the second choice by chance, capacity 1",
                                      .define = define,
                                      .make = make_rule_gate,
                                      .cost = gate_cost,
                                      .why_not = why_not,
                                      .capacity = "1",
                                      .drop_policy = "choice",
                                      .second_by_chance = true};

}  // namespace moebench
