// SPDX-License-Identifier: Apache-2.0
// From a GEMM's run-time description to the kernel that is compiled for it.
#pragma once

#include "backends/cuda/grouped/grouped_gemm.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda::grouped {

/// Calls launch.operator()<GemmKind, EpilogueOp, Activation>() for `p`. Without an activation in the epilogue,
/// Activation is gelu, so that no kernel is compiled twice.
template <class Launch>
void with_gemm(const GroupedGemmArgs& p, Launch launch) {
  const bool gelu = p.activation == Activation::gelu;
  switch (p.kind) {
    case GemmKind::wgrad:
      return launch.template operator()<GemmKind::wgrad, EpilogueOp::store, Activation::gelu>();
    case GemmKind::dgrad:
      if (p.epilogue == EpilogueOp::store)
        return launch.template operator()<GemmKind::dgrad, EpilogueOp::store, Activation::gelu>();
      MB_ASSERT(p.epilogue == EpilogueOp::differentiate);
      return gelu
                 ? launch.template operator()<GemmKind::dgrad, EpilogueOp::differentiate, Activation::gelu>()
                 : launch
                       .template operator()<GemmKind::dgrad, EpilogueOp::differentiate, Activation::swiglu>();
    case GemmKind::fprop:
      if (p.epilogue == EpilogueOp::store)
        return launch.template operator()<GemmKind::fprop, EpilogueOp::store, Activation::gelu>();
      MB_ASSERT(p.epilogue == EpilogueOp::activate);
      return gelu ? launch.template operator()<GemmKind::fprop, EpilogueOp::activate, Activation::gelu>()
                  : launch.template operator()<GemmKind::fprop, EpilogueOp::activate, Activation::swiglu>();
  }
}

/// The same with the type T of an element first; `p` is in a 16-bit format.
template <class Launch>
void with_variant(const GroupedGemmArgs& p, Launch launch) {
  MB_ASSERT(size_of(p.a.dtype) == 2);
  with_storage(p.a.dtype, [&]<class T>() {
    if constexpr (sizeof(T) == 2)
      with_gemm(p, [&]<GemmKind kGemmKind, EpilogueOp kEpilogue, Activation kActivation>() {
        launch.template operator()<T, kGemmKind, kEpilogue, kActivation>();
      });
  });
}

}  // namespace moebench::cuda::grouped
