// SPDX-License-Identifier: Apache-2.0
// Posts messages, polls them, and names the ranks that did not answer.
#include "comm/mpi/group.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr int kBlockTag = 0;  // the data plane has its own communicator: no other tag can meet this one

std::vector<int> world_ranks(MPI_Comm comm, int size) {
  MPI_Group group, world;
  MB_MPI(MPI_Comm_group(comm, &group));
  MB_MPI(MPI_Comm_group(MPI_COMM_WORLD, &world));
  std::vector<int> ranks(size), result(size);
  std::iota(ranks.begin(), ranks.end(), 0);
  MB_MPI(MPI_Group_translate_ranks(group, size, ranks.data(), world, result.data()));
  MPI_Group_free(&group);
  MPI_Group_free(&world);
  return result;
}

}  // namespace

Group::Group(Communicator communicator, const TimeoutPolicy& waiting)
    : comm(std::move(communicator)), policy(waiting) {
  MB_MPI(MPI_Comm_rank(comm.get(), &rank));
  MB_MPI(MPI_Comm_size(comm.get(), &size));
  world_rank = world_ranks(comm.get(), size);
}

void throw_timeout(const Group& group, std::string_view what, const std::vector<int>& peers) {
  std::vector<std::string> names;
  for (const int peer : peers) names.push_back(cat(group.world_rank[peer]));
  throw TimeoutError(cat("rank ", group.world_rank[group.rank], " waited ", group.policy.timeout_s, " s ",
                         what, " rank ", join(names, ", ")));
}

int checked_count(std::int64_t count, std::string_view what) {
  constexpr std::int64_t kMax = std::numeric_limits<int>::max();
  if (count > kMax)
    throw CommError(cat("a message of ", count, " ", what, " is beyond MPI's limit of ", kMax));
  return static_cast<int>(count);
}

Requests::~Requests() {
  for (std::size_t i = 0; i < handles_.size(); ++i) {
    if (handles_[i] == MPI_REQUEST_NULL) continue;
    if (messages_[i].receives) MPI_Cancel(&handles_[i]);
    MPI_Request_free(&handles_[i]);
  }
}

void Requests::add(MPI_Request handle, const Message& message) {
  handles_.push_back(handle);
  messages_.push_back(message);
}

void Requests::receive(void* data, int count, MPI_Datatype type, int peer, int tag) {
  MPI_Count size = 0;
  MB_MPI(MPI_Type_size_x(type, &size));
  MPI_Request handle;
  MB_MPI(MPI_Irecv(data, count, type, peer, tag, group_.comm.get(), &handle));
  add(handle, {peer, true, count * size});
}

void Requests::send(const void* data, int count, MPI_Datatype type, int peer, int tag) {
  MPI_Request handle;
  MB_MPI(MPI_Isend(data, count, type, peer, tag, group_.comm.get(), &handle));
  add(handle, {peer, false, 0});
}

void Requests::finish(int index, const MPI_Status& status, std::string_view what) {
  const Message& message = messages_[index];
  if (!message.receives) return;
  MPI_Count bytes = 0;
  MB_MPI(MPI_Get_elements_x(&status, MPI_BYTE, &bytes));
  if (bytes != message.bytes)
    throw CommError(cat("rank ", group_.world_rank[group_.rank], " expected ", message.bytes, " bytes of ",
                        what, " from rank ", group_.world_rank[message.peer], " and got ", bytes));
}

void Requests::wait(std::string_view what) {
  Backoff backoff = group_.policy.backoff();
  const int count = static_cast<int>(handles_.size());
  std::vector<int> indices(count);
  std::vector<MPI_Status> statuses(count);
  for (int open = count; open > 0;) {
    int done = 0;
    const int result = MPI_Testsome(count, handles_.data(), &done, indices.data(), statuses.data());
    if (result != MPI_SUCCESS && result != MPI_ERR_IN_STATUS) check_mpi(result, "MPI_Testsome");
    for (int i = 0; i < done; ++i) {
      const Message& message = messages_[indices[i]];
      if (result == MPI_ERR_IN_STATUS && statuses[i].MPI_ERROR != MPI_SUCCESS)
        check_mpi(
            statuses[i].MPI_ERROR,
            cat(what, message.receives ? " from" : " to", " rank ", group_.world_rank[message.peer]).c_str());
      finish(indices[i], statuses[i], what);
    }
    open -= done;
    if (done == 0 && !backoff.again()) give_up(what);
  }
}

void Requests::give_up(std::string_view what) {
  std::vector<int> pending_recv, pending_send;
  for (std::size_t i = 0; i < handles_.size(); ++i)
    if (handles_[i] != MPI_REQUEST_NULL)
      (messages_[i].receives ? pending_recv : pending_send).push_back(messages_[i].peer);
  std::sort(pending_recv.begin(), pending_recv.end());
  std::sort(pending_send.begin(), pending_send.end());
  if (!pending_recv.empty()) throw_timeout(group_, cat("for ", what, " from"), pending_recv);
  throw_timeout(group_, cat("to send ", what, " to"), pending_send);
}

void exchange_blocks(const Group& group, std::span<const std::byte> mine,
                     const std::vector<std::span<std::byte>>& theirs, std::string_view what) {
  Requests requests(group);
  for (int peer = 0; peer < group.size; ++peer)
    if (peer != group.rank)
      requests.receive(theirs[peer].data(), checked_count(theirs[peer].size(), "bytes"), MPI_BYTE, peer,
                       kBlockTag);
  for (int i = 1; i < group.size; ++i)
    requests.send(mine.data(), checked_count(mine.size(), "bytes"), MPI_BYTE, (group.rank + i) % group.size,
                  kBlockTag);
  requests.wait(what);
}

void meet(const Group& group) {
  exchange_blocks(group, {}, std::vector<std::span<std::byte>>(group.size), "a handshake");
}

Communicator duplicate(const Group& group) {
  auto handle = std::make_unique<MPI_Comm>(MPI_COMM_NULL);
  MPI_Request request;
  MB_MPI(MPI_Comm_idup(group.comm.get(), handle.get(), &request));
  try {
    wait_collective(group, request, "to make a communicator with");
  } catch (const Error&) {
    [[maybe_unused]] const MPI_Comm* const left = handle.release();  // MPI may still write to it
    throw;
  }
  return Communicator(*handle);
}

void wait_collective(const Group& group, MPI_Request request, std::string_view what) {
  Backoff backoff = group.policy.backoff();
  for (int done = 0;;) {
    MB_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    if (done) return;
    if (backoff.again()) continue;
    std::vector<int> peers;
    for (int peer = 0; peer < group.size; ++peer)
      if (peer != group.rank) peers.push_back(peer);
    throw_timeout(group, what, peers);
  }
}

}  // namespace moebench
