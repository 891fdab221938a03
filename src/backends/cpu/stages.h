// SPDX-License-Identifier: Apache-2.0
// The stages of the layer on CPU threads, one function each. Arguments as in backends/backend.h.
#pragma once

#include "backends/backend.h"
#include "base/thread_pool.h"

namespace moebench::cpu {

void gate_forward(ThreadPool& pool, const GateForward& args);
void gate_backward(ThreadPool& pool, const GateBackward& args);
/// In balance.cpp: writes balance.offsets from logits [T, E], T above 0.
void balance_groups(ThreadPool& pool, const GateBalance& balance, std::span<const float> logits,
                    std::int64_t experts);
/// In capacity.cpp.
void limit(ThreadPool& pool, const LimitRows& args);
void plan(const PlanArgs& args);
void pack_forward(ThreadPool& pool, const PackForward& args);
void pack_backward(ThreadPool& pool, const PackBackward& args);
void regroup(ThreadPool& pool, const Regroup& args);
void combine_forward(ThreadPool& pool, const CombineForward& args);
void combine_backward(ThreadPool& pool, const CombineBackward& args);

}  // namespace moebench::cpu
