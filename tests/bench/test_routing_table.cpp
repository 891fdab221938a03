// SPDX-License-Identifier: Apache-2.0
// The table of gates and routings stands for all routings of a class. That runs do what it says: tests/program/routing.py.
#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"
#include "bench/routing_table.h"
#include "layer/gates/gate.h"

namespace moebench {
namespace {

const RoutingKind& kind_named(std::string_view name) {
  for (const RoutingKind& kind : routing_kinds())
    if (kind.name == name) return kind;
  throw std::out_of_range("no such routing");
}

TEST(RoutingTable, AnswersForEveryDrawnRoutingOfAClass) {
  for (const GateSetting& gate : gate_settings())
    for (const auto as :
         {RoutingClass::drawn, RoutingClass::drawn_many_experts, RoutingClass::drawn_replayed}) {
      const auto ask = [&](const RoutingKind& kind) {
        return answer_of(routing_question(gate, as, kind), cpu_capabilities()).how;
      };
      for (const RoutingKind& kind : routing_kinds())
        if (kind.draw) {
          EXPECT_EQ(ask(kind), ask(kind_named("zipf"))) << gate.text() << " " << kind.name;
        }
    }
}

TEST(RoutingTable, HasEveryGateAndItsOwnChoice) {
  EXPECT_EQ(gate_settings().size(), gates().size() + 5);
  for (const GateSetting& gate : gate_settings()) {
    const Case question = routing_question(gate, RoutingClass::own, kind_named("random"));
    EXPECT_EQ(answer_of(question, cpu_capabilities()).how, "gate") << gate.text();
  }
}

TEST(RoutingTable, PlantsReplaysAndRefusesWithAReason) {
  const auto ask = [&](GateSetting gate, RoutingClass as, std::string_view kind) {
    return answer_of(routing_question(gate, as, kind_named(kind)), cpu_capabilities());
  };
  EXPECT_EQ(ask({"topk", {}, {}}, RoutingClass::drawn, "zipf").how, "planted");
  EXPECT_EQ(ask({"topk", {}, {}}, RoutingClass::drawn_many_experts, "zipf").how, "replayed");
  EXPECT_EQ(ask({"topk", {}, {}}, RoutingClass::drawn_replayed, "W6").how, "replayed");
  EXPECT_EQ(ask({"topk", {}, {}}, RoutingClass::recorded, "trace").how, "replayed");
  const auto refused = ask({"topk", "capacity", "1"}, RoutingClass::recorded, "trace");
  EXPECT_EQ(refused.how, "refused");
  EXPECT_NE(refused.reason.find("--capacity"), std::string::npos) << refused.reason;
}

}  // namespace
}  // namespace moebench
