// SPDX-License-Identifier: Apache-2.0
// Which gate takes which routing, and how: the answers of why_not() on small cases, for `moebench list gate-routings`.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/capabilities.h"
#include "suite/case.h"

namespace moebench {

/// Routings that gates take alike.
enum class RoutingClass { own, drawn, drawn_many_experts, drawn_replayed, recorded };
inline constexpr std::array<std::string_view, 5> kRoutingClasses{"random", "drawn", "drawn, E > H",
                                                                 "drawn, replayed", "trace"};

/// A gate with the options that change the answer.
struct GateSetting {
  std::string_view gate, flag, value;  ///< flag and value: empty for the plain gate
  std::string text() const;            ///< "sigmoid --groups 4:2"
};
/// Every gate, then the options.
std::vector<GateSetting> gate_settings();

/// A case of this gate on which why_not() is asked. `kind`: the routing, one with a draw unless `as` is own or recorded.
Case routing_question(const GateSetting& gate, RoutingClass as, const RoutingKind& kind);

struct RoutingAnswer {
  std::string_view how;  ///< gate, planted, replayed or refused
  std::string reason;    ///< why it is refused
};
RoutingAnswer answer_of(const Case& question, const Capabilities& backend);

/// A row per gate setting, a column per class, below it the reasons by number.
std::string routing_table(const Capabilities& backend);

}  // namespace moebench
