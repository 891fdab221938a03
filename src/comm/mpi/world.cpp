// SPDX-License-Identifier: Apache-2.0
// The control plane over MPI: a private communicator, every wait polled.
#include "comm/mpi/world.h"

#include <time.h>
#include <unistd.h>

#include <cstdlib>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "comm/mpi/comm.h"
#include "comm/mpi/group.h"
#include "comm/mpi/watchdog.h"

namespace moebench {
namespace {

constexpr int kTextTag = 1;
constexpr timespec kIdleNap{0, 5'000'000};  // 200 looks a second: no load, and no noticeable wait at the end

std::span<std::byte> bytes_of(std::string& text) {
  return std::as_writable_bytes(std::span(text.data(), text.size()));
}

class MpiWorld final : public World {
 public:
  /// Takes over `comm`, collective over its ranks.
  MpiWorld(std::shared_ptr<Session> session, Communicator comm, double timeout_s)
      : session_(std::move(session)), group_(std::move(comm), {timeout_s, false}) {
    MPI_Comm handle;
    const MpiWatchdog watchdog(timeout_s, "MPI_Comm_split_type");
    MB_MPI(MPI_Comm_split_type(group_.comm.get(), MPI_COMM_TYPE_SHARED, group_.rank, MPI_INFO_NULL, &handle));
    const Communicator local(handle);
    MB_MPI(MPI_Comm_rank(local.get(), &local_rank_));
    MB_MPI(MPI_Comm_size(local.get(), &local_size_));
    group_.policy.crowded = local_size_ > sysconf(_SC_NPROCESSORS_ONLN);
  }

  std::string_view name() const override { return "mpi"; }
  std::string library() const override;
  int rank() const override { return group_.rank; }
  int size() const override { return group_.size; }
  int local_size() const override { return local_size_; }
  int local_rank() const override { return local_rank_; }

  void barrier() override { meet(group_); }
  void wait_idle() override;
  std::vector<double> gather(std::span<const double> mine) override;
  std::vector<std::string> gather_text(const std::string& mine) override;
  std::string broadcast(const std::string& text) override;
  std::unique_ptr<Comm> make_comm(Memory& memory, StreamView) override;
  std::unique_ptr<World> first(int ranks) override;
  void abort(int code) override;

 private:
  /// Rank 0 sends `bytes` to all; the others receive into them.
  void send_from_root(std::span<std::byte> bytes);

  std::shared_ptr<Session> session_;
  Group group_;
  int local_size_ = 1, local_rank_ = 0;
};

/// "Open MPI 4.1.4" of "Open MPI v4.1.4, package: …", "MPICH 4.0.2" of "MPICH Version: 4.0.2\n…".
std::string MpiWorld::library() const {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MB_MPI(MPI_Get_library_version(text, &length));
  std::string short_text;
  const std::string_view whole(text);
  for (std::string word : split(std::string(whole.substr(0, whole.find_first_of(",\n"))), ' ')) {
    if (word.size() > 1 && word[0] == 'v' && word[1] >= '0' && word[1] <= '9') word.erase(0, 1);
    for (const std::string& part : split(word, '\t'))
      if (!part.empty() && part != "Version:") short_text += cat(short_text.empty() ? "" : " ", part);
  }
  return short_text;
}

void MpiWorld::wait_idle() {
  MPI_Request request;
  MB_MPI(MPI_Ibarrier(group_.comm.get(), &request));
  for (int done = 0;;) {
    MB_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    if (done) return;
    throw_if_interrupted();
    nanosleep(&kIdleNap, nullptr);
  }
}

std::vector<double> MpiWorld::gather(std::span<const double> mine) {
  const std::size_t n = mine.size();
  std::vector<double> all(n * group_.size);
  std::vector<std::span<std::byte>> blocks;
  for (int p = 0; p < group_.size; ++p)
    blocks.push_back(std::as_writable_bytes(std::span(all).subspan(p * n, n)));
  std::copy(mine.begin(), mine.end(), all.begin() + group_.rank * n);
  exchange_blocks(group_, std::as_bytes(mine), blocks, "numbers");
  return all;
}

std::vector<std::string> MpiWorld::gather_text(const std::string& mine) {
  const double length = static_cast<double>(mine.size());
  const std::vector<double> lengths = gather({&length, 1});
  std::vector<std::string> all(group_.size);
  std::vector<std::span<std::byte>> blocks;
  for (int p = 0; p < group_.size; ++p) {
    all[p].resize(static_cast<std::size_t>(lengths[p]));
    blocks.push_back(bytes_of(all[p]));
  }
  all[group_.rank] = mine;
  exchange_blocks(group_, std::as_bytes(std::span(mine)), blocks, "text");
  return all;
}

void MpiWorld::send_from_root(std::span<std::byte> bytes) {
  const int count = checked_count(bytes.size(), "bytes");
  Requests requests(group_);
  if (group_.rank != 0) requests.receive(bytes.data(), count, MPI_BYTE, 0, kTextTag);
  for (int peer = 1; group_.rank == 0 && peer < group_.size; ++peer)
    requests.send(bytes.data(), count, MPI_BYTE, peer, kTextTag);
  requests.wait("text");
}

std::string MpiWorld::broadcast(const std::string& text) {
  std::uint64_t length = text.size();
  send_from_root(std::as_writable_bytes(std::span(&length, 1)));
  std::string result = group_.rank == 0 ? text : std::string(length, '\0');
  send_from_root(bytes_of(result));
  return result;
}

std::unique_ptr<Comm> MpiWorld::make_comm(Memory& memory, StreamView) {
  meet(group_);  // unlike MPI_Comm_idup, it names missing ranks
  return std::make_unique<MpiComm>(session_, Group(duplicate(group_), group_.policy), memory);
}

std::unique_ptr<World> MpiWorld::first(int ranks) {
  if (ranks < 1 || ranks > group_.size)
    throw UsageError(cat("cannot use ", ranks, " ranks: valid is 1 to ", group_.size));
  meet(group_);  // unlike MPI_Comm_split, it names missing ranks
  MPI_Comm handle;
  const MpiWatchdog watchdog(group_.policy.timeout_s, "MPI_Comm_split");
  MB_MPI(MPI_Comm_split(group_.comm.get(), group_.rank < ranks ? 0 : MPI_UNDEFINED, group_.rank, &handle));
  if (handle == MPI_COMM_NULL) return nullptr;
  return std::make_unique<MpiWorld>(session_, Communicator(handle), group_.policy.timeout_s);
}

void MpiWorld::abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

}  // namespace

std::unique_ptr<World> make_mpi_world(double timeout_s) {
  auto session = std::make_shared<Session>(timeout_s);
  MPI_Comm handle;
  const MpiWatchdog watchdog(timeout_s, "MPI_Comm_dup");
  MB_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &handle));
  return std::make_unique<MpiWorld>(std::move(session), Communicator(handle), timeout_s);
}

}  // namespace moebench
