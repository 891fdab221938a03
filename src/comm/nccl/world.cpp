// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/world.h"

#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "comm/nccl/nccl_world.h"

namespace moebench {

NcclWorld::NcclWorld(std::unique_ptr<World> control, double timeout_s, MakeQueue make_queue)
    : control_(std::move(control)), timeout_s_(timeout_s), make_queue_(std::move(make_queue)) {}

std::string NcclWorld::library() const {
  return cat("NCCL ", nccl().version, ", started over ", control_->name());
}

std::unique_ptr<Comm> NcclWorld::make_comm(Memory& memory, StreamView stream) {
  if (!joined_) joined_ = join();
  return std::make_unique<NcclComm>(std::make_shared<NcclWatchdog>(joined_, make_queue_(stream)), memory,
                                    stream, make_queue_);
}

std::shared_ptr<NcclCommunicator> NcclWorld::join() {
  std::string bytes(sizeof(ncclUniqueId), '\0'), failure;
  ncclUniqueId id{};
  if (rank() == 0) {
    try {
      MB_NCCL(ncclGetUniqueId(&id));
    } catch (const CommError& error) {  // the other ranks wait for this message
      failure = error.what();
    }
    std::memcpy(bytes.data(), &id, sizeof id);
  }
  failure = control_->broadcast(failure);
  if (!failure.empty()) throw CommError(failure);
  bytes = control_->broadcast(bytes);
  std::memcpy(&id, bytes.data(), sizeof id);
  control_->barrier();  // unlike ncclCommInitRank, it names missing ranks
  std::vector<int> ranks(static_cast<std::size_t>(size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  World* const control = control_.get();
  return std::make_shared<NcclCommunicator>(
      id, rank(), ranks, NcclTimeoutPolicy{timeout_s_, [control](int code) { control->abort(code); }});
}

std::unique_ptr<World> NcclWorld::first(int ranks) {
  auto part = control_->first(ranks);
  return part ? std::make_unique<NcclWorld>(std::move(part), timeout_s_, make_queue_) : nullptr;
}

std::string why_no_nccl(int local_size) {
  if (!nccl().missing.empty()) return nccl().missing;
  const int gpus = visible_gpus();
  if (gpus == 0) return "this process sees no GPU";
  if (local_size > gpus)
    return cat(local_size, " ranks of this host would share ", gpus, gpus == 1 ? " GPU" : " GPUs",
               ", and NCCL wants one for each");
  return {};
}

std::string uuid_of_rank(int local_rank) { return gpu_uuid(local_rank); }

std::unique_ptr<World> make_nccl_world(std::unique_ptr<World> control, double timeout_s) {
  return std::make_unique<NcclWorld>(std::move(control), timeout_s, make_cuda_queue);
}

}  // namespace moebench
