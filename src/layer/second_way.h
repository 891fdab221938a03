// SPDX-License-Identifier: Apache-2.0
// A step of the layer computed a second time, all of it, by other means than the layer's: the gate, the plan, the
// packing and the weighted sums are plain loops on the host, rows are not exchanged but made where their expert is,
// and the experts run one by one in an engine other than the one under test. Never timed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "base/thread_pool.h"
#include "comm/world.h"
#include "layer/gradient_rows.h"
#include "layer/oracle.h"
#include "moe/workload.h"

namespace moebench {

/// Rows at a time: bounds the memory, and is enough for a product to be fast.
inline constexpr std::int64_t kSecondWayRows = 4096;

/// What a step gives for this rank's tokens. What ends in `_terms` is the norm of the rows that a row is a sum of.
struct SecondResults {
  std::vector<double> logits;                                        ///< [t, E]
  std::vector<double> score, dscore;                                 ///< [t, K]
  std::vector<double> y, dx;                                         ///< [t, H]
  std::vector<double> score_terms, y_terms, dx_terms, dscore_terms;  ///< [t]
};

class SecondWay {
 public:
  /// Collective. `tested` is the engine under test: another one of the backend is taken. Takes about 6·H·F elements
  /// and 4,096 rows of device memory, whatever the number of experts, for as long as it lives. `gate` outlives it.
  SecondWay(const Workload& workload, World& world, Backend& backend, ThreadPool& pool,
            const GateDefinition& gate, const std::string& tested, bool backward);
  ~SecondWay();

  /// Why there is no second way here, the same on every rank; empty if there is one.
  const std::string& why_not() const { return why_not_; }
  /// The engine that it runs experts in.
  const std::string& engine() const { return engine_name_; }

  /// `expert` counts from this rank's first.
  using TakeGradients = std::function<void(std::int64_t expert, const ExpertGradients&)>;
  /// Collective. Takes the choice of experts and their scores as given (`chosen`, `expert_of` and `score` of the
  /// gate_output, all ranks'), and the inputs from the oracle; the scores of the results are its own, in double. Of experts that several ranks hold each rank does its part, over the tokens of
  /// all ranks: only for these does it call `take`.
  SecondResults run(const Oracle& oracle, const GateOutput& gate_output, const TakeGradients& take);
  /// Whether run() gives this rank the gradients of its expert.
  bool has_gradients_of(std::int64_t expert) const;

 private:
  struct Device;  ///< the engine, one expert's weights and gradients, and some rows
  /// Of sums_.
  std::int64_t columns() const { return 2 * shape_.hidden + shape_.slots_per_token() + 3; }
  std::string lacking(std::int64_t rows) const;
  std::string allocate(const std::string& tested);
  void score_tokens(const Oracle& oracle, std::span<const std::int32_t> chosen, SecondResults& results);
  void run_expert(const Oracle& oracle, std::int64_t expert, std::span<const std::int64_t> slots,
                  ExpertGradients& gradients);
  void fill_weights(std::int64_t expert);
  void run_rows(const Oracle& oracle, std::span<const std::int64_t> slots);
  void upload_rows(const Tensor& to, std::span<const std::int64_t> slots, std::span<const float> from,
                   bool scaled);
  void add_outputs(const Oracle& oracle, std::span<const std::int64_t> slots);
  void add_input_gradients(std::span<const std::int64_t> slots);
  void add_gradients(ExpertGradients& gradients);
  void sum_over_ranks();
  void finish(const Oracle& oracle, std::span<const std::int32_t> chosen, SecondResults& results);
  void add_gate(const Oracle& oracle, std::span<const std::int32_t> chosen, std::int64_t token,
                double dscore_terms, SecondResults& results) const;

  Workload workload_;
  Shape shape_;
  World& world_;
  Backend& backend_;
  ThreadPool& pool_;
  const GateDefinition& definition_;
  bool backward_;
  std::string why_not_, engine_name_;
  std::unique_ptr<Device> device_;
  std::vector<double> gate_;      ///< [H, E]
  std::span<const float> score_;  ///< [T, K] of all ranks, as given
  std::vector<float> sums_;       ///< [T, 2·H + K + 3]: y, dx, dscore, and the squares of their terms
  std::vector<float> rows_;       ///< [rows, H] on their way between host and device
};

}  // namespace moebench
