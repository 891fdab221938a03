// SPDX-License-Identifier: Apache-2.0
// How uneven a drawn routing is, and which parameter makes it as uneven as asked.
#pragma once

#include "moe/routing_distribution.h"

namespace moebench {

/// "none" is 0, else at least 1: all experts have as many rows. Throws UsageError.
double parse_target_imbalance(std::string_view word);

/// max / mean of the rows of experts, all tokens of the last step of the period drawn: the uneven one of a burst.
double imbalance_of(const Shape& shape, const RoutingDistribution& routing, std::uint64_t seed);

struct FoundParameter {
  double parameter = 0;  ///< with the digits that name_of() writes
  double reached = 0;    ///< max / mean
  bool within = false;   ///< reached is within 1 % of what was asked
};

/// The smallest parameter at which max / mean crosses `target`, or the nearest to it that was met on the way.
FoundParameter find_parameter(const Shape& shape, RoutingDistribution routing, std::uint64_t seed,
                              double target);

/// Why the routing does not have this max / mean, asked for by --target-imbalance: it has no parameter, none that reaches
/// it, or one that was given and does not. Empty if it has.
std::string why_not_target(const Shape& shape, const RoutingDistribution& routing, std::uint64_t seed,
                           double target);

}  // namespace moebench
