// SPDX-License-Identifier: Apache-2.0
#include "comm/memories.h"
#include "contract/comm_contract.h"
#include "fakes/fake_device.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

std::unique_ptr<Comm> make_comm(Memory& memory) { return world_under_test().make_comm(memory, {}); }

INSTANTIATE_TEST_SUITE_P(
    Comms, CommContract,
    testing::Values(CommUnderTest{"Nccl", [] { return std::make_unique<HostMemory>(); }, make_comm},
                    CommUnderTest{"NcclStream", [] { return std::make_unique<StreamMemory>(); }, make_comm}),
    comm_name);

}  // namespace
}  // namespace moebench
