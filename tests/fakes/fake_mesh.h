// SPDX-License-Identifier: Apache-2.0
// Processes of one host, each joined to each by a Unix socket.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

namespace moebench::fakes {

/// One message to or from a peer, which may be this rank.
struct Transfer {
  int peer;
  std::byte* data;
  std::size_t bytes;
  bool sends;
};

class Mesh {
 public:
  /// Meets the others of the same name; ends the program if they do not come within a minute.
  Mesh(std::string name, int rank, int size);
  ~Mesh();
  Mesh(const Mesh&) = delete;

  const std::string& name() const { return name_; }
  int rank() const { return rank_; }
  int size() const { return size_; }

  /// All transfers at once; those of one peer and direction in order. False if it was aborted, a peer is
  /// gone, or a message is not as long as its receive.
  bool exchange(const std::vector<Transfer>& transfers);
  void abort() { aborted_ = true; }
  bool aborted() const { return aborted_; }
  void wait_for_abort() const;

 private:
  std::string name_;
  int rank_, size_;
  std::vector<int> sockets_;  ///< by peer; -1 for this rank
  std::atomic<bool> aborted_ = false;
};

}  // namespace moebench::fakes
