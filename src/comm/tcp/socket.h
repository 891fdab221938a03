// SPDX-License-Identifier: Apache-2.0
// Owners of TCP sockets, and how ranks find each other's.
#pragma once

#include <string>
#include <utility>

#include "comm/launch.h"

namespace moebench {

/// Move-only owner of a file descriptor.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Socket();
  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

/// Listens where `place` says: at its address if that is this machine's, else at all; or takes over its
/// listener. Throws EnvironmentError naming the address.
Socket listen_at(const Rendezvous& place);
/// Listens at a free port of the loopback device; `port` is its number.
Socket listen_locally(int& port);
/// One try; empty if no process listens there yet. Throws EnvironmentError if the host has no address.
Socket connect_to(const Rendezvous& place);
/// A connection that has come in; empty if none has.
Socket accept_from(const Socket& listener);

}  // namespace moebench
