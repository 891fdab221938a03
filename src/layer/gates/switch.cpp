// SPDX-License-Identifier: Apache-2.0
// Gate `switch`: K = 1, s = softmax(z) over all experts, p = the largest of s; an expert takes 1.25 times its even share of
// a group's tokens, the earliest, unless --capacity says otherwise.
// Source: Switch Transformers (arXiv 2101.03961), equations 1 to 3; capacity factor 1.25 of its models in training. Without
// its jitter of the input and its dropout; its loss is --aux-loss 0.01.
#include "base/text.h"
#include "layer/gates/entries.h"

namespace moebench {
namespace {

std::unique_ptr<GateDefinition> define(const Shape& shape, const GateOptions& options) {
  return kSoftmaxTopkGate.define(shape, options);
}

std::string why_not(const Shape& shape, const GateOptions& options) {
  if (shape.top_k != 1) return cat("gate switch makes one choice, not top_k ", shape.top_k);
  return why_not_plain(shape, options);
}

}  // namespace

constinit const GateEntry kSwitchGate{.name = "switch",
                                      .help = "Switch Transformers: top-k 1, softmax over all, capacity 1.25",
                                      .define = define,
                                      .make = make_rule_gate,
                                      .cost = gate_cost_with_logits,
                                      .why_not = why_not,
                                      .capacity = "1.25"};

}  // namespace moebench
