// SPDX-License-Identifier: Apache-2.0
#include "moe/routing_distribution.h"

#include "base/error.h"
#include "base/text.h"
#include "moe/expert_plan.h"
#include "moe/permutation.h"
#include "moe/random_field.h"

namespace moebench {
namespace {

constexpr Words<Placement, 3> kPlacements{{{
    {Placement::contiguous, "contiguous"},
    {Placement::shuffled, "shuffled"},
    {Placement::eplb, "eplb"},
}}};

constexpr int kMostWindow = 4096;  // as many as --steps can be

int every_fourth(const Shape&) { return 4; }

constexpr RoutingKind kKinds[] = {
    {.name = "random", .help = "the gate's own choice on random tokens: about even"},
    {.name = "balanced",
     .help = "experts in turn, the k of a token side by side: exactly even",
     .draw = draw_balanced},
    {.name = "balanced:spread",
     .help = "exactly even, the k of a token as far apart as they can be",
     .draw = draw_balanced_spread},
    {.name = "zipf", .parameter = "S", .max = 10, .help = "expert i by weight 1/(i+1)^S", .draw = draw_zipf},
    {.name = "lognormal",
     .parameter = "S",
     .max = 5,
     .help = "experts by weight exp(S·n), n normal: the loads of real models, S from 0.25 to 1.1",
     .draw = draw_lognormal},
    {.name = "power-law",
     .parameter = "A",
     .max = 10,
     .help = "rows of experts as x^-A, as aiconfigurator's power_law_A",
     .draw = draw_power_law},
    {.name = "hot",
     .parameter = "F",
     .max = 1,
     .help = "a fraction F of the tokens has expert 0 among its choices, the rest is even",
     .draw = draw_hot},
    {.name = "hot-rank",
     .parameter = "F",
     .max = 1,
     .help = "a fraction F of the tokens has all its experts on rank 0, the rest is drawn from all",
     .draw = draw_hot_rank},
    {.name = "one", .help = "every token takes experts 0 to k-1", .draw = draw_one},
    {.name = "burst",
     .parameter = "F",
     .max = 1,
     .help = "hot:F in every fourth step, balanced in the others",
     .draw = draw_burst,
     .period = every_fourth},
    {.name = "rotate",
     .parameter = "F",
     .max = 1,
     .help = "hot:F, whose expert moves on by an eighth of all in every step",
     .draw = draw_rotate,
     .period = period_of_rotate},
    {.name = "W0", .help = "Megatron-LM's token-imbalance workload: as balanced", .draw = draw_balanced},
    {.name = "W1", .help = "3 of 4 tokens draw from the first quarter of the experts", .draw = draw_w1},
    {.name = "W2", .help = "the same as W1: its source differs in the name alone", .draw = draw_w1},
    {.name = "W3", .help = "3 of 4 tokens draw from every other expert", .draw = draw_w3},
    {.name = "W4", .help = "all tokens draw from all experts", .draw = draw_w4},
    {.name = "W5", .help = "all tokens draw from the second half of the experts", .draw = draw_w5},
    {.name = "W6",
     .help = "W1, whose quarter moves on every 3 steps",
     .draw = draw_w6,
     .period = period_of_w6},
    {.name = "W7",
     .help = "W4; in every fourth step every other token draws from the first quarter",
     .draw = draw_w7,
     .period = every_fourth},
    {.name = "trace", .parameter = "FILE", .help = "what was recorded: see 'moebench help trace'"},
};
constexpr const RoutingKind& kTrace = kKinds[std::size(kKinds) - 1];

/// Renumbers what another draws.
class ShuffledDraw final : public RoutingDraw {
 public:
  ShuffledDraw(std::unique_ptr<RoutingDraw> inner, std::int64_t experts, std::uint64_t seed)
      : inner_(std::move(inner)) {
    const Permutation order(static_cast<std::uint64_t>(experts), key_of(seed, RandomField::placement));
    for (std::int64_t e = 0; e < experts; ++e)
      place_.push_back(static_cast<std::int64_t>(order.at(static_cast<std::uint64_t>(e))));
  }
  void choose(int step, std::int64_t token, std::span<std::int64_t> chosen) const override {
    inner_->choose(step, token, chosen);
    for (std::int64_t& expert : chosen) expert = place_[expert];
  }

 private:
  std::unique_ptr<RoutingDraw> inner_;
  std::vector<std::int64_t> place_;
};

const RoutingKind& find_kind(std::string_view word, std::string_view name) {
  std::vector<std::string> names;
  for (const RoutingKind& kind : kKinds) {
    if (kind.name == word || kind.name == name) return kind;
    names.push_back(form_of(kind));
  }
  throw_unknown("routing", word, names);
}

}  // namespace

std::span<const RoutingKind> routing_kinds() { return kKinds; }

std::string form_of(const RoutingKind& kind) {
  if (kind.parameter.empty()) return std::string(kind.name);
  if (&kind == &kTrace) return "trace:FILE[@layer=L][@step=A[-B]]";
  return cat(kind.name, ":", kind.parameter, " (", kind.min, " <= ", kind.parameter, " <= ", kind.max, ")");
}

void place(RoutingDistribution& routing, std::string_view word) {
  constexpr std::string_view kPlanned = "eplb:";
  if (!word.starts_with(kPlanned)) {
    routing.placement = kPlacements.parse("placement", word);
    routing.window = 1;
    return;
  }
  const auto window = to_int(word.substr(kPlanned.size()));
  if (!window || *window < 1 || *window > kMostWindow)
    throw UsageError(cat("placement '", word, "' is not eplb:W (1 <= W <= ", kMostWindow, ")"));
  routing.placement = Placement::eplb;
  routing.window = static_cast<int>(*window);
}

std::string placement_of(const RoutingDistribution& routing) {
  const std::string word(kPlacements.name(routing.placement));
  return routing.window == 1 ? word : cat(word, ":", routing.window);
}

RoutingDistribution parse_routing(std::string_view word) {
  if (word.starts_with("trace:") && word.size() > 6)
    return {.kind = &kTrace, .trace = std::string(word.substr(6))};
  const auto exact = std::find_if(std::begin(kKinds), std::end(kKinds),
                                  [&](const RoutingKind& kind) { return kind.name == word; });
  if (exact != std::end(kKinds)) return {exact, exact->parameter.empty() ? 0 : std::nan("")};
  const std::size_t colon = word.find(':');
  const RoutingKind& kind = find_kind(word, word.substr(0, colon));
  const auto number = to_double(word.substr(colon + 1));
  if (kind.parameter.empty() || !number || !(*number >= kind.min && *number <= kind.max))
    throw UsageError(cat("routing '", word, "' is not ", form_of(kind)));
  return {&kind, *number};
}

std::string name_of(const RoutingDistribution& routing) {
  if (routing.is_trace()) return cat(kTrace.name, ":", routing.trace);
  const std::string word(routing.kind->name);
  return routing.kind->parameter.empty() || routing.lacks_parameter() ? word
                                                                      : cat(word, ":", routing.parameter);
}

int period_of(const RoutingDistribution& routing, const Shape& shape) {
  return routing.kind->period ? routing.kind->period(shape) : 1;
}

std::string why_not_drawn(const RoutingDistribution& routing) {
  if (routing.is_trace()) return cat("routing '", name_of(routing), "' is replayed by run and verify alone");
  if (!routing.lacks_parameter()) return {};
  return cat("routing '", routing.kind->name, "' lacks its parameter; valid: ", form_of(*routing.kind),
             routing.kind == &kTrace ? "" : ", or --target-imbalance");
}

std::string why_not_planted(const Shape& shape, const RoutingDistribution& routing) {
  if (routing.is_random() || shape.experts <= shape.hidden) return {};
  return cat("routing '", name_of(routing), "' needs experts <= hidden, but experts is ", shape.experts,
             " and hidden is ", shape.hidden);
}

std::unique_ptr<RoutingDraw> make_draw(const Shape& shape, const RoutingDistribution& routing,
                                       std::uint64_t seed, int steps) {
  if (routing.is_random()) return nullptr;
  MB_ASSERT(why_not_drawn(routing).empty());
  return placed(routing.kind->draw({shape, routing.parameter, seed}), shape, routing, seed, steps);
}

std::unique_ptr<RoutingDraw> placed(std::unique_ptr<RoutingDraw> draw, const Shape& shape,
                                    const RoutingDistribution& routing, std::uint64_t seed, int steps) {
  switch (routing.placement) {
    case Placement::contiguous:
      return draw;
    case Placement::shuffled:
      return std::make_unique<ShuffledDraw>(std::move(draw), shape.experts, seed);
    case Placement::eplb:
      return std::make_unique<PlannedDraw>(std::move(draw), shape, steps, routing.window);
  }
  MB_ASSERT(false);
  return draw;
}

}  // namespace moebench
