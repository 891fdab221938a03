// SPDX-License-Identifier: Apache-2.0
#include "fakes/fake_mesh.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <span>

#include "fakes/fake_stream.h"

namespace moebench::fakes {
namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::abort();
}

sockaddr_un address_of(const std::string& name, int rank) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "moebench-fake-nccl-" + name + "-" + std::to_string(rank);
  if (path.size() + 1 > sizeof address.sun_path) die("the name of a communicator is too long");
  std::memcpy(address.sun_path + 1, path.data(), path.size());  // abstract: begins with a zero
  return address;
}

int open_socket() {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) die("socket");
  return socket;
}

int call_on(const sockaddr_un& address, int rank) {
  const int socket = open_socket();
  constexpr int kTimeoutMs = 60000;
  for (int waited = 0; connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0;
       ++waited) {
    if (waited > kTimeoutMs) die("a rank of a fake NCCL communicator did not come");
    nap();
  }
  if (write(socket, &rank, sizeof rank) != sizeof rank) die("write");
  return socket;
}

/// The messages of one peer in one direction, each after its length.
class Lane {
 public:
  void add(const Transfer& transfer) { waiting_.push_back(transfer); }
  bool done() const { return waiting_.empty(); }
  /// Moves what can be moved now; false if the peer is gone or a length is wrong.
  bool move(int socket, bool sends) {
    while (!done()) {
      const std::uint64_t length = waiting_.front().bytes;
      if (sends) header_ = length;
      auto* const header = reinterpret_cast<std::byte*>(&header_);
      const std::span<std::byte> part =
          at_ < sizeof header_
              ? std::span(header + at_, sizeof header_ - at_)
              : std::span(waiting_.front().data + (at_ - sizeof header_), length - (at_ - sizeof header_));
      const ssize_t moved = part.empty() ? 0
                            : sends ? ::send(socket, part.data(), part.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                                    : ::recv(socket, part.data(), part.size(), MSG_DONTWAIT);
      if (moved < 0) return errno == EAGAIN || errno == EINTR;
      if (moved == 0 && !part.empty()) return false;
      at_ += static_cast<std::size_t>(moved);
      if (at_ == sizeof header_ && header_ != length) return false;
      if (at_ < sizeof header_ + length) continue;
      at_ = 0;
      waiting_.pop_front();
    }
    return true;
  }

 private:
  std::deque<Transfer> waiting_;
  std::uint64_t header_ = 0;
  std::size_t at_ = 0;  ///< bytes of header and message that have been moved
};

void copy_to_itself(const std::vector<Transfer>& transfers, int rank) {
  std::vector<Transfer> sent, received;
  for (const Transfer& transfer : transfers)
    if (transfer.peer == rank) (transfer.sends ? sent : received).push_back(transfer);
  if (sent.size() != received.size()) die("a rank does not receive what it sends to itself");
  for (std::size_t i = 0; i < sent.size(); ++i) std::memcpy(received[i].data, sent[i].data, sent[i].bytes);
}

}  // namespace

Mesh::Mesh(std::string name, int rank, int size)
    : name_(std::move(name)), rank_(rank), size_(size), sockets_(static_cast<std::size_t>(size), -1) {
  const sockaddr_un mine = address_of(name_, rank);
  const int listener = open_socket();
  if (bind(listener, reinterpret_cast<const sockaddr*>(&mine), sizeof mine) != 0 ||
      listen(listener, size) != 0)
    die("listen");
  for (int peer = 0; peer < rank; ++peer)
    sockets_[static_cast<std::size_t>(peer)] = call_on(address_of(name_, peer), rank);
  for (int left = size - 1 - rank; left > 0; --left) {
    const int socket = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    int peer = 0;
    if (socket < 0 || read(socket, &peer, sizeof peer) != sizeof peer) die("accept");
    sockets_[static_cast<std::size_t>(peer)] = socket;
  }
  close(listener);
}

Mesh::~Mesh() {
  for (const int socket : sockets_)
    if (socket >= 0) close(socket);
}

bool Mesh::exchange(const std::vector<Transfer>& transfers) {
  copy_to_itself(transfers, rank_);
  std::vector<Lane> out(sockets_.size()), in(sockets_.size());
  for (const Transfer& transfer : transfers)
    if (transfer.peer != rank_)
      (transfer.sends ? out : in)[static_cast<std::size_t>(transfer.peer)].add(transfer);
  while (!aborted_) {
    std::vector<pollfd> waits;
    for (std::size_t peer = 0; peer < sockets_.size(); ++peer) {
      if (!out[peer].move(sockets_[peer], true) || !in[peer].move(sockets_[peer], false)) return false;
      const int events = (out[peer].done() ? 0 : POLLOUT) | (in[peer].done() ? 0 : POLLIN);
      if (events) waits.push_back({sockets_[peer], static_cast<short>(events), 0});
    }
    if (waits.empty()) return true;
    constexpr int kLookForAbortMs = 5;
    poll(waits.data(), waits.size(), kLookForAbortMs);
  }
  return false;
}

void Mesh::wait_for_abort() const {
  while (!aborted_) nap();
}

}  // namespace moebench::fakes
