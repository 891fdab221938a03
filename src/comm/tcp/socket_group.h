// SPDX-License-Identifier: Apache-2.0
// Sockets from every rank to rank 0, and the messages over them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/agreement.h"
#include "comm/tcp/link.h"

namespace moebench {

class SocketGroup {
 public:
  /// Connects the ranks: rank 0 listens at `place`. Throws TimeoutError naming the ranks that have not connected
  /// within `timeout_s`, EnvironmentError if the ranks do not agree on how many they are, UsageError if they were
  /// not started alike.
  SocketGroup(int rank, int size, const Rendezvous& place, double timeout_s, const Identity& identity = {});

  int rank() const { return rank_; }
  /// The host of each rank.
  const std::vector<std::string>& hosts() const { return hosts_; }

  /// Rank 0 gets the texts of ranks 0 … size-1 and sends all of them to each. `what` completes "rank 0 waited
  /// 30 s for … from rank 2". Without a limit if `idle`.
  std::vector<std::string> gather(const std::string& mine, int size, const char* what, bool idle = false);
  /// Rank 0's text on ranks 0 … size-1.
  std::string broadcast(const std::string& text, int size);
  /// Sends every rank the exit code and reason of the run; waits half a second at most.
  void shutdown(int code, const std::string& text) noexcept;

 private:
  void accept_ranks(const Rendezvous& place);
  void take_handshake(std::unique_ptr<Link> link, const Message& hello, std::vector<bool>& here);
  void connect_to_root(const Rendezvous& place);
  Link& link_to(int peer) { return *links_[static_cast<std::size_t>(rank_ == 0 ? peer : 0)]; }
  /// A message from each of `peers`, after everything queued for them has been sent.
  std::vector<std::string> receive_all(const std::vector<int>& peers, const char* what, double limit_s);
  void send_all(const std::vector<int>& peers, const Message& message, const char* what);
  std::string text_of(Message message, int peer) const;
  std::vector<int> others(int size) const;
  /// Runs `work` on rank 0 and sends an error that it throws to all ranks.
  template <class Work>
  auto run_on_root(Work work);

  int rank_, size_;
  double timeout_s_;
  Identity identity_;
  std::string different_;  ///< rank 0, while ranks meet: how the first of them differs from it
  std::vector<std::unique_ptr<Link>> links_;  ///< rank 0: by rank, none to itself; others: one
  std::vector<std::string> hosts_;
};

}  // namespace moebench
