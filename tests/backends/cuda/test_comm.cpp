// SPDX-License-Identifier: Apache-2.0
// The contract of Comm on GPU memory.
#include "backends/cuda/gpu_memory.h"
#include "contract/comm_contract.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

INSTANTIATE_TEST_SUITE_P(Comms, CommContract,
                         testing::Values(CommUnderTest{"Gpu", [] { return std::make_unique<GpuMemory>(); },
                                                       [](Memory& memory) {
                                                         return world_under_test().make_comm(
                                                             memory, the_gpu().stream());
                                                       }}),
                         comm_name);

}  // namespace
}  // namespace moebench
