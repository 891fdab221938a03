// SPDX-License-Identifier: Apache-2.0
// The gate: which experts each token goes to, with what weights. A gate is one file of this folder: its formula and
// source, its definition in double precision, the rule that a backend's kernels follow, its cost, and when it is refused.
//
// T tokens, E experts, K choices per token. z = x·Wg are the logits, S is the chosen set, p are the scores.
// Of every gate here p_j depends on the logits in one form: with a slope per expert and a share per choice
//   dlogit_e = slope_e · (dscore of e's choice, 0 if e was not chosen − Σ_j share_j · dscore_j).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "layer/routing.h"
#include "moe/cost.h"
#include "moe/gate_options.h"
#include "moe/shape.h"

namespace moebench {

/// How one token's scores depend on its logits.
struct GateSlopes {
  std::vector<double> share;  ///< [K]
  std::vector<double> slope;  ///< [E], 0 for an expert whose logit has no gradient
};

/// A token's scores over all experts [E], which losses are made of, and the derivative of each one's weight by its logit, over
/// the weight.
struct SpreadScores {
  std::vector<double> scores, relative_slopes;
};

/// A gate in double precision, token by token: what the oracle computes. Pure functions.
class GateDefinition {
 public:
  virtual ~GateDefinition() = default;
  /// What kernels compute the same by; the bias is not in it.
  virtual GateRule rule() const = 0;
  /// [E]: what experts are ranked by from now on besides their scores, of a gate with a bias.
  virtual void set_bias(std::span<const float> /*bias*/) {}
  /// [E] from logits [E]: the K largest are chosen, the lower expert on a tie; among the groups that rule() keeps.
  virtual std::vector<double> ranking(std::span<const double> logits) const {
    return {logits.begin(), logits.end()};
  }
  /// [E] from the logits [N, E] of a group of tokens (rule().balance): added to ranking() of each of them; empty: nothing.
  virtual std::vector<double> offsets(std::span<const double> /*logits*/) const { return {}; }
  /// Puts the noise of a step and a token, by its number among all, on its logits [E]: what is ranked and scored.
  virtual void perturb(int /*step*/, std::int64_t /*token*/, std::span<double> /*logits*/) const {}
  /// p [K] of the chosen experts.
  virtual std::vector<double> scores(std::span<const double> logits,
                                     std::span<const std::int32_t> chosen) const = 0;
  /// Logits may be empty unless rule().differentiates_logits().
  virtual GateSlopes slopes(std::span<const double> logits, std::span<const std::int32_t> chosen,
                            std::span<const double> scores) const = 0;
  /// A softmax over all experts unless a gate has other scores.
  virtual SpreadScores spread(std::span<const double> logits) const;
  /// Whether a slot may go to no expert.
  virtual bool may_drop() const { return false; }
};

/// A gate that runs on a backend. All work goes to its stream; no call makes the host wait.
class Gate {
 public:
  virtual ~Gate() = default;
  virtual const GateDefinition& definition() const = 0;
  /// The step that forward() and backward() are of from now on: of gates that do not do the same in each.
  virtual void begin_step(int /*step*/) {}
  /// Of a gate whose bias moves: that of routing step `step` [E], below GateArgs::bias_steps. Waits for the device.
  virtual void set_bias(int /*step*/, std::span<const float> /*bias*/) {}
  /// x [T, H], weight [H, E] → routing.logits, chosen, score, and expert_of: chosen, or -1 for a dropped slot.
  virtual void forward(const TensorView& x, const TensorView& weight, const Routing& routing) = 0;
  /// routing.dscore (0 for dropped slots) → dx += …, dweight overwritten; after forward() of the same x.
  virtual void backward(const TensorView& x, const TensorView& weight, const Routing& routing,
                        const TensorView& dx, const TensorView& dweight) = 0;
};

/// What a gate is made for. The backend outlives it.
struct GateArgs {
  Shape shape;
  GateOptions options;
  std::int64_t first_token = 0;  ///< of this rank, among all tokens
  std::int64_t tokens = 0;       ///< of this rank
  int bias_steps = 1;            ///< routing steps that have a bias each
  Backend& backend;
};

/// A row of the table of gates.
struct GateEntry {
  std::string_view name;  ///< the word of `--gate`
  std::string_view help;  ///< one line for `moebench list gates`
  std::unique_ptr<GateDefinition> (*define)(const Shape&, const GateOptions&);
  std::unique_ptr<Gate> (*make)(const GateArgs&, std::unique_ptr<GateDefinition>);
  /// Of stage `gate`.
  StageCost (*cost)(const Shape&, const RankLoad&, Pass);
  /// Why it cannot route this shape, or does not know what it is asked for; empty if it can.
  std::string (*why_not)(const Shape&, const GateOptions&);
  std::string_view capacity = "none",
                   drop_policy = "position";  ///< the defaults of --capacity and --drop-policy
  bool second_by_chance = false;  ///< a second choice is taken with probability min(1, 2 · its score)
  bool ignores_input = false;     ///< no routing can be planted
  /// Every expert is a choice of every token, in order, and a capacity leaves K of each on average (GateRule::all_experts).
  bool all_experts = false;
  bool balances = false;  ///< a token's choice depends on its group: no routing can be planted
};

/// What Shape::slots is under a gate.
std::int64_t slots_of(const GateEntry& gate, const Shape& shape);

/// Of the random numbers of a step.
std::uint64_t noise_key(std::uint64_t seed, int step);

/// A gate that is nothing but its rule: the backend's gate stage, forward and backward.
std::unique_ptr<Gate> make_rule_gate(const GateArgs& args, std::unique_ptr<GateDefinition> definition);
/// For the table: gate_cost() and the logits, which forward keeps (4·T·E bytes) and backward reads.
StageCost gate_cost_with_logits(const Shape& shape, const RankLoad& load, Pass pass);
/// For the table: any shape, and no options but a capacity.
std::string why_not_plain(const Shape& shape, const GateOptions& options);
/// For the table: options that sigmoid and sqrtsoftplus have.
std::string why_not_affinity(const Shape& shape, const GateOptions& options);

/// The table, in the order of `moebench list gates`.
std::span<const GateEntry* const> gates();
std::vector<std::string> gate_names();
/// Throws UsageError that names the valid words.
const GateEntry& find_gate(std::string_view word);
/// `topk`, the paper's.
const GateEntry& default_gate();

}  // namespace moebench
