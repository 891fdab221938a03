// SPDX-License-Identifier: Apache-2.0
// The direct exchange of GPUs of one host: PeerKernels on one GPU's stream.
#pragma once

#include <memory>

#include "backends/cuda/runtime/gpu.h"
#include "backends/peer_kernels.h"

namespace moebench::cuda {

/// `gpu` outlives it.
std::unique_ptr<PeerKernels> make_peer_kernels(const PeerGroup& group, Gpu& gpu);

}  // namespace moebench::cuda
