// SPDX-License-Identifier: Apache-2.0
// What the links between ranks give, alone: ways to move bytes × sizes × who sends to whom.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/subject.h"

namespace moebench {

/// How bytes move. messages: the comm's exchange of rows, one message per peer. copy: the backend's copies into memory of
/// the peer (a GPU's copy engines). store: kernels that store at the peer, flag included (exchange `direct`).
enum class LinkWay { messages, copy, store };
std::string_view name_of(LinkWay way);
LinkWay parse_link_way(std::string_view word);

/// Which ranks send to which. all: every rank to every other at once. host: to those of its own host. hosts: to those of
/// other hosts. pair: two ranks to each other, the others idle.
enum class LinkPattern { all, host, hosts, pair };
std::string_view name_of(LinkPattern pattern);

/// A way at one size.
struct LinkPoint {
  LinkWay way = LinkWay::messages;
  LinkPattern pattern = LinkPattern::all;
  int a = 0, b = 0;   ///< of a pair
  double bytes = 0;   ///< to each peer
  double peers = 0;   ///< that the rank with the most sends to
  int n = 0;          ///< repeats
  double p50_us = 0;  ///< of the slowest rank in each repeat
  double min_us = 0, max_us = 0;

  /// 10^9 bytes per second that leave one rank: the bus bandwidth of nccl-tests.
  double gbs() const { return peers * bytes / p50_us * 1e-3; }
};

struct LinkRequest {
  std::vector<std::int64_t> bytes;  ///< to each peer, ascending
  double max_repeat_s = 0.5;        ///< a way that takes longer at one size is not measured at the next
};

/// What was measured, the same on all ranks, and for each way that cannot be used here the reason.
struct Links {
  std::vector<LinkPoint> points;
  std::vector<std::string> why_not;
};

/// Every way with every pattern that exists here; pairs, if there are more than two ranks, at the largest size only.
/// Collective. `host_of`: of each rank.
Links measure_links(Bench bench, const LinkRequest& request, const std::vector<std::string>& host_of);

}  // namespace moebench
