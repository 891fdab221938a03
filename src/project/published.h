// SPDX-License-Identifier: Apache-2.0
// Exchanges that others measured and published, and what a line through the smaller ones says of the larger ones.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "project/line_fit.h"

namespace moebench {

/// One entry of a published table, as it stands there.
struct PublishedEntry {
  int gpus = 0;
  double message_bytes = 0;  ///< of a rank's whole send buffer, its own part included
  double value = 0;          ///< in the table's unit
  bool held_out = false;     ///< not fitted: predicted from the others
};

/// A table of one kernel. `per_node` GPUs share a node; bytes that count are those that leave it.
struct PublishedTable {
  enum class Unit { microseconds, gigabytes_per_second };
  /// Of the message, what goes over the links that are fitted: the part for other nodes; the same with each token once
  /// per node (K of 8 experts per GPU); the part for other ranks of the node; or the message as it stands.
  enum class Counts { remote, remote_once_per_node, other_ranks, all };

  std::string_view name, source;
  Unit unit = Unit::microseconds;
  Counts counts = Counts::remote;
  int per_node = 8, top_k = 8, experts_per_gpu = 8;
  std::vector<PublishedEntry> entries;
  /// What a refit must give again: the line through all entries, and the errors where held out (in their order).
  double expected_latency_us = 0, expected_gbs = 0;
  std::vector<double> expected_errors_pct;
};

/// The tables kept here, each with its source.
std::vector<PublishedTable> published_tables();

/// Seconds and the bytes that count, of one entry.
TimedBytes timed_bytes(const PublishedTable& table, const PublishedEntry& entry);

/// E[number of distinct groups] that a token reaches with top_k of `experts` even experts in `groups` equal groups:
/// G(1 − C(E−E/G, K)/C(E, K)).
double expected_groups(int groups, int experts, int top_k);

struct RefitRow {
  std::string_view name, source;
  Line line;                ///< through all entries
  double residual_pct = 0;  ///< the largest of it
  struct HeldOut {
    int gpus = 0;
    double message_bytes = 0, error_pct = 0, expected_pct = 0;
  };
  std::vector<HeldOut> held_out;
  double expected_latency_us = 0, expected_gbs = 0;
  std::vector<std::string> failures;  ///< what is not as expected; empty if all is
};

/// Fits every table again.
std::vector<RefitRow> refit(const std::vector<PublishedTable>& tables);

}  // namespace moebench
