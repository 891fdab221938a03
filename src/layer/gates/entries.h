// SPDX-License-Identifier: Apache-2.0
// One entry per gate, each exported by its file: what the table in gate.cpp is made of.
#pragma once

#include "layer/gates/gate.h"

namespace moebench {

extern const GateEntry kTopkGate;
extern const GateEntry kSoftmaxTopkGate;
extern const GateEntry kSigmoidGate;
extern const GateEntry kSqrtsoftplusGate;
extern const GateEntry kSwitchGate;
extern const GateEntry kGshardGate;
extern const GateEntry kNoisyTopkGate;
extern const GateEntry kForcedGate;
extern const GateEntry kExpertChoiceGate;
extern const GateEntry kSinkhornGate;

}  // namespace moebench
