// SPDX-License-Identifier: Apache-2.0
// Which rank died, and of what. A launcher that loses a rank ends the others with a signal and does not say why.
#pragma once

#include <string>
#include <vector>

#include "comm/world.h"

namespace moebench {

/// Watches the ranks on rank 0's host. A rank that dies of a signal that can be caught (SIGSEGV, SIGABRT, …) sends
/// its number to rank 0 from the handler; one that is gone without a word was ended by SIGKILL.
class LostRanks {
 public:
  /// Collective. At most one at a time in a process.
  explicit LostRanks(World& world);
  ~LostRanks();
  LostRanks(const LostRanks&) = delete;
  LostRanks& operator=(const LostRanks&) = delete;

  /// On rank 0: "rank 1 died (signal 9)"; empty if every rank of this host is there, or has ended by itself. Empty on
  /// the other ranks.
  std::string find();
  /// This process is about to end by itself: it is not lost.
  void end_by_itself();

 private:
  void take_notes();

  int socket_ = -1;           ///< rank 0: takes notes; others: leads to rank 0
  std::vector<int> process_;  ///< rank 0: by rank; 0 for one that cannot be watched
  std::vector<int> signal_;  ///< rank 0: what a rank says it died of; -1 for nothing, 0 for an end of its own
};

}  // namespace moebench
