// SPDX-License-Identifier: Apache-2.0
#include "bench/routing_table.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "bench/why_not.h"
#include "layer/gates/gate.h"
#include "suite/flag.h"

namespace moebench {
namespace {

constexpr GateSetting kOptions[] = {{"sigmoid", "groups", "4:2"},
                                    {"sigmoid", "gate-bias", "0.1"},
                                    {"topk", "capacity", "1"},
                                    {"topk", "aux-loss", "0.01"},
                                    {"topk", "z-loss", "0.001"}};

const RoutingKind& kind_named(std::string_view name) {
  const auto kinds = routing_kinds();
  const auto found =
      std::find_if(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.name == name; });
  MB_ASSERT(found != kinds.end());
  return *found;
}

/// Some gates take one expert per token, some two.
void choose_top_k(Case& question) {
  for (const std::int64_t top_k : {2, 1}) {
    question.shape.top_k = top_k;
    question.shape.slots = slots_of(find_gate(question.gate), question.shape);
    if (find_gate(question.gate).why_not(question.shape, question.gate_options).empty()) return;
  }
}

void take_trace(Case& question) {
  const Shape& shape = question.shape;
  question.routing.trace = "FILE";
  question.trace = {.name = "FILE",
                    .steps = 1,
                    .experts = shape.experts,
                    .top_k = shape.top_k,
                    .most_expert = shape.experts - 1,
                    .least_tokens = shape.tokens,
                    .most_tokens = shape.tokens};
}

}  // namespace

std::string GateSetting::text() const {
  return flag.empty() ? std::string(gate) : cat(gate, " --", flag, " ", value);
}

std::vector<GateSetting> gate_settings() {
  std::vector<GateSetting> settings;
  for (const GateEntry* gate : gates()) settings.push_back({gate->name, {}, {}});
  settings.insert(settings.end(), std::begin(kOptions), std::end(kOptions));
  return settings;
}

Case routing_question(const GateSetting& gate, RoutingClass as, const RoutingKind& kind) {
  Case question;
  question.shape = {.tokens = 64, .hidden = 32, .ffn = 32, .experts = 16, .top_k = 2};
  if (as == RoutingClass::drawn_many_experts) question.shape.hidden = 8;
  question.gate = gate.gate;
  for (const Flag& flag : flags())
    if (flag.default_of) flag.write(question, flag.default_of(question));
  if (!gate.flag.empty()) find_flag(gate.flag).write(question, gate.value);
  choose_top_k(question);
  question.routing.kind = &kind;
  if (!kind.parameter.empty()) question.routing.parameter = 1;
  if (as == RoutingClass::drawn_replayed) question.routing_via = RoutingVia::replayed;
  if (as == RoutingClass::recorded) take_trace(question);
  return question;
}

RoutingAnswer answer_of(const Case& question, const Capabilities& backend) {
  if (std::string why = why_not(question, backend); !why.empty()) return {"refused", why};
  if (question.routing.is_random()) return {"gate", {}};
  return {replays_routing(question) ? "replayed" : "planted", {}};
}

std::string routing_table(const Capabilities& backend) {
  std::vector<std::string> reasons;
  std::string text = format("  %-23s", "gate");
  for (const std::string_view name : kRoutingClasses) text += format(" %-15s", std::string(name).c_str());
  for (const GateSetting& gate : gate_settings()) {
    text += format("\n  %-23s", gate.text().c_str());
    for (std::size_t i = 0; i < kRoutingClasses.size(); ++i) {
      const auto as = static_cast<RoutingClass>(i);
      const auto& kind = kind_named(as == RoutingClass::own        ? "random"
                                    : as == RoutingClass::recorded ? "trace"
                                                                   : "zipf");
      const RoutingAnswer answer = answer_of(routing_question(gate, as, kind), backend);
      std::string word(answer.how);
      if (!answer.reason.empty()) {
        const auto known = std::find(reasons.begin(), reasons.end(), answer.reason);
        word += format(" (%d)", static_cast<int>(known - reasons.begin()) + 1);
        if (known == reasons.end()) reasons.push_back(answer.reason);
      }
      text += format(" %-15s", word.c_str());
    }
  }
  for (std::size_t i = 0; i < reasons.size(); ++i) text += cat("\n  (", i + 1, ") ", reasons[i]);
  std::string lines;
  for (const std::string& line : split(text, '\n'))
    lines += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  return lines;
}

}  // namespace moebench
