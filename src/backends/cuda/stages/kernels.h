// SPDX-License-Identifier: Apache-2.0
// The kernels of this backend as functions of the host: each queues work on `stream` and returns.
// Arguments as in backends/backend.h; every file <name>.cu says how its kernels work and what they must move.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backends/backend.h"

namespace moebench::cuda {

// fill.cu
void fill(cudaStream_t stream, const TensorView& to, const UniformField& field, std::int64_t first);
/// Element by element, rounding to nearest even; one of the two is fp32 or tf32.
void convert(cudaStream_t stream, const TensorView& from, const TensorView& to);
/// values[i] = i.
void iota(cudaStream_t stream, std::span<std::int32_t> values);

// gates/gate.cu: the gate in one kernel, or what is left of it around its matrix products.
/// All of GateForward; false, with nothing done, for shapes and formats it is not made for.
bool gate_in_one(cudaStream_t stream, const GateForward& args);
/// logits → expert_of, score.
void choose_experts(cudaStream_t stream, const GateForward& args);
/// score, dscore → the gradient of every logit, `dlogits` [T, E]: zero where an expert was not chosen.
void gate_softmax_backward(cudaStream_t stream, const GateBackward& args, const TensorView& dlogits);

// gates/loss.cu
/// Adds the gradients of the losses to those of the logits.
void add_loss_gradients(cudaStream_t stream, const GateBackward& args, const TensorView& dlogits);

// gates/noise.cu
/// Puts the rule's noise on the logits.
void perturb(cudaStream_t stream, const GateForward& args);

// gates/balance.cu
/// logits → what evens out each group's choices: rule.balance.offsets.
void balance_groups(cudaStream_t stream, const GateForward& args);

// gates/capacity.cu
void limit(cudaStream_t stream, const LimitRows& args);

// plan.cu
/// 32-bit words that plan() needs to work in.
std::int64_t plan_scratch(std::int64_t slots, std::int64_t experts);
/// Throws UsageError beyond kMaxExperts.
void plan(cudaStream_t stream, const PlanArgs& args, std::int32_t* scratch);
inline constexpr std::int64_t kMaxExperts = 6144;

// regroup.cu
void regroup(cudaStream_t stream, const Regroup& args);

// pack.cu
void pack(cudaStream_t stream, const PackForward& args);
void pack(cudaStream_t stream, const PackBackward& args);
/// to[i] = from[order[i]] for all rows i of `to`.
void gather_rows(cudaStream_t stream, const std::int32_t* order, const TensorView& from,
                 const TensorView& to);
/// to[order[i]] = from[i] for all rows i of `from`.
void scatter_rows(cudaStream_t stream, const std::int32_t* order, const TensorView& from,
                  const TensorView& to);

// combine.cu
void combine(cudaStream_t stream, const CombineForward& args);
void combine(cudaStream_t stream, const CombineBackward& args);
/// dscore = Σ_p partials[row of the slot, p] / score, in order, or 0 where score is 0. partials [rows, parts], fp32.
void reduce_dscore(cudaStream_t stream, const float* partials, std::int64_t parts,
                   const ScoreGradient& scores);

// activation.cu
/// pre [n, F or 2F] → act [n, F].
void activate(cudaStream_t stream, Activation activation, const TensorView& pre, const TensorView& act);
/// dact [n, F] → dpre, shaped as pre.
void activate_backward(cudaStream_t stream, Activation activation, const TensorView& pre,
                       const TensorView& dact, const TensorView& dpre);

// add.cu
/// to += from, in fp32, rounded once. Of one size; `from` may be fp32 where `to` is not.
void add(cudaStream_t stream, const TensorView& from, const TensorView& to);

// bias.cu. Rows of expert i are [offsets[i], offsets[i + 1]) of `rows`, for i below bias.rows; offsets in
// device memory.
/// Adds bias[i] to the rows of expert i, `count` rows in all.
void add_bias(cudaStream_t stream, const std::int32_t* offsets, std::int64_t count, const TensorView& bias,
              const TensorView& rows);
/// sums[i] = (or +=) the sum of the rows of expert i, in a fixed order.
void sum_columns(cudaStream_t stream, const std::int32_t* offsets, const TensorView& rows,
                 const TensorView& sums, bool accumulate);

// engines/naive.cu
/// keys[i] = 0 where expert_of_row[i] is `expert`, else 1.
void mark_expert(cudaStream_t stream, std::span<const std::int32_t> expert_of_row, std::int64_t expert,
                 std::int32_t* keys);

// runtime/blocking_kernel.cu
/// Blocks the stream until *served reaches `ticket`, or for two seconds.
void launch_blocking_kernel(cudaStream_t stream, const std::uint32_t* served, std::uint32_t ticket);

}  // namespace moebench::cuda
