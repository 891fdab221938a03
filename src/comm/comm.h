// SPDX-License-Identifier: Apache-2.0
// Comm: exchanges rows and sums between the ranks of one group (the data plane).
//
// Every call is collective over the group. Every wait is bounded: after `timeout` it throws TimeoutError
// naming this rank and the peers it waited for; on SIGINT, SIGTERM and SIGHUP it throws Interrupted.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/tensor.h"

namespace moebench {

/// Rows [first, first + rows) of a row matrix.
struct Segment {
  std::int64_t first = 0;
  std::int64_t rows = 0;
};

/// How an exchange is cut. fused: everything at once. per_expert: one segment of each peer at a time, which
/// is one local expert at a time, each after the other: the FastMoE paper's code (arXiv 2103.13262).
enum class ExchangeForm { fused, per_expert };

/// An all-to-all-v of rows. Peer p is sent sends[p·n … p·n + n) and fills recvs[p·n … p·n + n), in that
/// order, n = segments_per_peer; a segment may be empty. Sizes match on both sides (exchange_sizes first).
/// `send` and `recv` have the same dtype and columns and do not overlap.
struct RowExchange {
  TensorView send, recv;
  std::span<const Segment> sends, recvs;
  int segments_per_peer = 1;
  ExchangeForm form = ExchangeForm::fused;
};

class Comm {
 public:
  virtual ~Comm() = default;

  virtual std::string_view name() const = 0;
  virtual int rank() const = 0;  ///< within this group
  virtual int size() const = 0;
  /// No wait lasts longer, in seconds.
  virtual double timeout_s() const = 0;

  /// Whether a fused exchange sends all segments of a peer as one message, wherever they lie.
  virtual bool joins_segments() const { return true; }

  /// All-to-all of host integers: `send` [size, n] row p goes to peer p; `recv` [size, n] row p came from p.
  virtual void exchange_sizes(std::span<const std::int64_t> send, std::span<std::int64_t> recv) = 0;
  /// Ordered after queued work on the backend's stream; later work on the stream sees the rows.
  virtual void exchange_rows(const RowExchange& exchange) = 0;
  /// In-place sum over the group, in the tensor's dtype; the same bits on every rank.
  virtual void all_reduce(TensorView tensor) = 0;
  /// Ranks with the same `color` form a group, ordered by their rank here.
  virtual std::unique_ptr<Comm> split(int color) = 0;
};

}  // namespace moebench
