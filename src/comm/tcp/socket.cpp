// SPDX-License-Identifier: Apache-2.0
#include "comm/tcp/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr int kBacklog = 1024;  // every rank of a large run may call at once
constexpr int kConnectMs = 1000;

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Addresses addresses_of(const Rendezvous& place) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(place.host.c_str(), cat(place.port).c_str(), &wanted, &found);
  if (failed)
    throw EnvironmentError(cat("the rendezvous ", place.host, " has no address: ", gai_strerror(failed)));
  return {found, freeaddrinfo};
}

Socket open_socket(int family) {
  Socket socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (socket) setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return socket;
}

void set_up(const Socket& socket) {
  const int on = 1;
  setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(socket.get(), F_SETFL, O_NONBLOCK);
}

bool listens(const Socket& socket, const sockaddr* address, socklen_t length) {
  if (!socket || bind(socket.get(), address, length) != 0 || listen(socket.get(), kBacklog) != 0)
    return false;
  fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  return true;
}

Socket listen_everywhere(int port) {
  Socket socket = open_socket(AF_INET);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(static_cast<std::uint16_t>(port));
  return listens(socket, reinterpret_cast<const sockaddr*>(&any), sizeof any) ? std::move(socket) : Socket();
}

}  // namespace

Socket::~Socket() {
  if (descriptor_ >= 0) close(descriptor_);
}

Socket listen_at(const Rendezvous& place) {
  if (place.listener >= 0) {
    Socket inherited(place.listener);
    fcntl(inherited.get(), F_SETFD, FD_CLOEXEC);
    fcntl(inherited.get(), F_SETFL, O_NONBLOCK);
    return inherited;
  }
  const Addresses addresses = addresses_of(place);
  for (const addrinfo* at = addresses.get(); at; at = at->ai_next)
    if (Socket socket = open_socket(at->ai_family); listens(socket, at->ai_addr, at->ai_addrlen))
      return socket;
  const int first_error = errno;
  if (first_error == EADDRNOTAVAIL)  // the host is known by an address of a router in front of it
    if (Socket socket = listen_everywhere(place.port)) return socket;
  throw EnvironmentError(cat("rank 0 cannot listen at the rendezvous ", place.host, ":", place.port, ": ",
                             std::strerror(first_error)));
}

Socket listen_locally(int& port) {
  Socket socket = open_socket(AF_INET);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (!listens(socket, generic, length) || getsockname(socket.get(), generic, &length) != 0)
    throw EnvironmentError(cat("cannot listen on the loopback device: ", std::strerror(errno)));
  port = ntohs(address.sin_port);
  return socket;
}

Socket connect_to(const Rendezvous& place) {
  const Addresses addresses = addresses_of(place);
  for (const addrinfo* at = addresses.get(); at; at = at->ai_next) {
    Socket socket = open_socket(at->ai_family);
    if (!socket) continue;
    set_up(socket);
    if (connect(socket.get(), at->ai_addr, at->ai_addrlen) == 0) return socket;
    if (errno != EINPROGRESS) continue;
    pollfd ready{socket.get(), POLLOUT, 0};
    int error = ETIMEDOUT;
    socklen_t length = sizeof error;
    if (poll(&ready, 1, kConnectMs) == 1) getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error == 0) return socket;
  }
  return {};
}

Socket accept_from(const Socket& listener) {
  Socket socket(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (socket) set_up(socket);
  return socket;
}

}  // namespace moebench
