// SPDX-License-Identifier: Apache-2.0
#include "comm/tcp/world.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "comm/tcp/socket_group.h"

namespace moebench {
namespace {

class TcpWorld final : public World {
 public:
  /// The first `size` ranks of the star.
  TcpWorld(std::shared_ptr<SocketGroup> group, int size) : group_(std::move(group)), size_(size) {}

  std::string_view name() const override { return "tcp"; }
  int rank() const override { return group_->rank(); }
  int size() const override { return size_; }
  int local_size() const override { return neighbours_before(size_); }
  int local_rank() const override { return neighbours_before(rank()); }

  void barrier() override { group_->gather("", size_, "a handshake"); }
  void wait_idle() override { group_->gather("", size_, "a handshake", true); }
  std::vector<double> gather(std::span<const double> mine) override;
  std::vector<std::string> gather_text(const std::string& mine) override {
    return group_->gather(mine, size_, "text");
  }
  std::string broadcast(const std::string& text) override { return group_->broadcast(text, size_); }
  std::unique_ptr<Comm> make_comm(Memory&, StreamView) override {
    throw EnvironmentError(
        "ranks that were joined over sockets exchange rows over NCCL only: use mpirun for --comm mpi");
  }
  std::unique_ptr<World> first(int ranks) override {
    if (ranks < 1 || ranks > size_)
      throw UsageError(cat("cannot use ", ranks, " ranks: valid is 1 to ", size_));
    return rank() < ranks ? std::make_unique<TcpWorld>(group_, ranks) : nullptr;
  }
  void abort(int code) override {
    group_->shutdown(code, cat("rank ", rank(), " ended the run with exit code ", code));
    std::_Exit(code);
  }

 private:
  /// Ranks on this host among the first `ranks`.
  int neighbours_before(int ranks) const {
    const auto& hosts = group_->hosts();
    return static_cast<int>(
        std::count(hosts.begin(), hosts.begin() + ranks, hosts[static_cast<std::size_t>(rank())]));
  }

  std::shared_ptr<SocketGroup> group_;
  int size_;
};

std::vector<double> TcpWorld::gather(std::span<const double> mine) {
  std::vector<double> all;
  const std::string bytes(reinterpret_cast<const char*>(mine.data()), mine.size_bytes());
  for (const std::string& part : group_->gather(bytes, size_, "numbers")) {
    MB_ASSERT(part.size() == bytes.size());
    const std::size_t held = all.size();
    all.resize(held + mine.size());
    std::memcpy(all.data() + held, part.data(), part.size());
  }
  return all;
}

}  // namespace

std::unique_ptr<World> make_tcp_world(const Launch& launch, const Rendezvous& place, double timeout_s,
                                      const Identity& identity) {
  return std::make_unique<TcpWorld>(
      std::make_shared<SocketGroup>(launch.rank, launch.size, place, timeout_s, identity), launch.size);
}

}  // namespace moebench
