// SPDX-License-Identifier: Apache-2.0
// The layer's definition in double precision: plain loops over one token, one expert, one hidden unit, so that
// any part of a result can be checked without computing the rest. Never timed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "layer/gates/gate.h"
#include "layer/gates/loss.h"
#include "moe/workload.h"

namespace moebench {

/// What the layer under test chose and found, for all tokens of all ranks. The oracle takes the choice of experts as
/// given (two logits that differ by less than rounding may be ordered either way; verify.cpp bounds how far off a choice
/// is) and computes everything else itself, but for the scores of tokens it was not asked about.
struct GateOutput {
  std::vector<std::int32_t> expert_of;  ///< [T, K]
  std::vector<float> score, dscore;     ///< [T, K]
  /// [T, K], K different experts per token: what expert_of was before slots were dropped (−1). Empty: none was.
  std::vector<std::int32_t> chosen = {};
};

/// What the gate of a layer with one expert would choose.
GateOutput all_to_one_expert(std::int64_t tokens);

/// One token's results. What ends in `_terms` is a norm of the terms that a result is a sum of, each counted with the
/// error that its own sums pass on: rounding is small beside that, even where the terms cancel (docs/method.md).
struct OracleToken {
  std::vector<double> logits;                         ///< [E]
  std::vector<double> score, dscore;                  ///< [K]
  std::vector<double> dscore_terms;                   ///< [K]
  std::vector<double> y, dx;                          ///< [H]
  double score_terms = 0, y_terms = 0, dx_terms = 0;  ///< of the whole row
};

/// Gradients that belong to one hidden unit of one expert. SwiGLU has two columns of W1 per unit: gate, then up.
struct OracleUnit {
  std::vector<double> dw1;        ///< [H] or [2, H]: column(s) of the gradient
  std::vector<double> db1;        ///< [1] or [2]
  std::vector<double> dw2;        ///< [H]: row of the gradient
  std::vector<double> dw1_terms;  ///< [1] or [2]: of each column
  std::vector<double> db1_terms;  ///< [1] or [2]
  double dw2_terms = 0;           ///< of the row
};

class Oracle {
 public:
  /// Reads step `step` of `workload`, rounded to the shape's dtype. Holds x and dy of all tokens, [T, H] each.
  /// `gate` outlives the oracle; null: `topk`.
  Oracle(const Workload& workload, int step, GateOutput gate_output, ThreadPool& pool,
         const GateDefinition* gate = nullptr, const LossOptions& losses = {});

  /// Forward and backward of these global tokens.
  std::vector<OracleToken> tokens(std::span<const std::int64_t> tokens) const;
  /// Gradients of these hidden units of one expert, over all tokens.
  std::vector<OracleUnit> units(std::int64_t expert, std::span<const std::int64_t> units) const;
  /// [H]: the gradient of b2 of one expert; and the norm of its terms.
  std::vector<double> db2(std::int64_t expert) const;
  double db2_terms(std::int64_t expert) const;
  /// [H, E]: the gradient of the gate's weight; and for each of its columns the norm of its terms.
  std::vector<double> dgate() const;
  std::vector<double> dgate_terms() const;

  /// Of the shared experts as the only expert of a layer, whose y and dx are part of those of tokens(); null without any.
  const Oracle* shared() const { return shared_.get(); }

  int step() const { return step_; }
  /// [E] of a global token, with the gate's noise.
  std::vector<double> logits_of(std::int64_t token) const;
  /// Of the gate's losses by the logits [E] of a global token; nothing without losses.
  std::optional<LossGradient> loss_gradient(std::int64_t token, std::span<const double> logits) const;
  /// [T, H] of all tokens of all ranks, rounded to the shape's dtype.
  std::span<const float> x() const { return x_; }
  std::span<const float> dy() const { return dy_; }

  /// The norm of the terms of a token's logits: that of its row, times the root mean square of the gate's weights.
  double logit_terms(std::int64_t token) const;
  /// The same counted in the errors of the router's format: for what is checked by its bound.
  double router_terms(std::int64_t token) const;

 private:
  struct Row {
    std::int64_t token, choice, sample;  ///< sample: index into the tokens asked for
  };
  struct Batch;  ///< the rows of one expert
  Batch batch_of(std::int64_t expert, std::span<const Row> rows, std::span<const OracleToken> samples) const;
  void enter(Batch& batch) const;
  void cross(Batch& batch) const;
  void leave(Batch& batch, std::span<OracleToken> samples) const;
  void unit(std::int64_t expert, std::int64_t unit, std::span<const std::int64_t> slots,
            OracleUnit& result) const;
  void run_expert(std::int64_t expert, std::span<const Row> rows, std::span<OracleToken> samples,
                  std::span<std::vector<double>> y_rows, std::span<std::vector<double>> dx_rows) const;
  void add_shared(std::span<const std::int64_t> tokens, std::span<OracleToken> samples) const;
  void score_token(std::int64_t token, OracleToken& result) const;
  void finish_token(std::int64_t token, OracleToken& result) const;
  double weight(Parameter parameter, std::int64_t index) const;
  std::vector<std::int64_t> slots_of(std::int64_t expert) const;
  std::span<const std::int32_t> chosen_of(std::int64_t token) const {
    return std::span(gate_output_.chosen).subspan(token * places(), places());
  }
  std::int64_t places() const { return shape_.slots_per_token(); }
  GateSlopes slopes_of_layer(std::int64_t token) const;
  struct GateMean {
    double value = 0, terms = 0;  ///< Σ share·dscore, and of their sizes
  };
  template <class Body>
  void each_dlogit(Body body) const;
  template <class Body>
  void each_loss(Body body) const;
  double norm_of(std::span<const float> tensor, std::int64_t token) const;

  Shape shape_;
  int step_;
  std::array<UniformField, 5> fields_;  ///< by Parameter
  GateOutput gate_output_;
  ThreadPool& pool_;
  std::unique_ptr<GateDefinition> topk_;  ///< if no gate was given
  const GateDefinition* gate_;
  std::optional<GateLosses> losses_;
  std::vector<std::int32_t> loss_counts_;  ///< [groups, E], with an auxiliary loss
  std::int64_t loss_group_ = 0;
  std::vector<double> gate_weight_;  ///< [H, E]
  std::vector<float> x_, dy_;
  std::unique_ptr<Oracle> shared_;
};

}  // namespace moebench
