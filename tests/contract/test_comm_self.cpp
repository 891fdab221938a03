// SPDX-License-Identifier: Apache-2.0
#include "comm/memories.h"
#include "comm/world.h"
#include "contract/comm_contract.h"

namespace moebench {
namespace {

std::unique_ptr<Comm> make_self_comm(Memory& memory) { return make_self_world()->make_comm(memory, {}); }

INSTANTIATE_TEST_SUITE_P(
    Comms, CommContract,
    testing::Values(CommUnderTest{"Self", [] { return std::make_unique<HostMemory>(); }, make_self_comm},
                    CommUnderTest{"SelfFar", [] { return std::make_unique<FarMemory>(); }, make_self_comm}),
    comm_name);

}  // namespace
}  // namespace moebench
