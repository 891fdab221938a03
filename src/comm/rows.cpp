// SPDX-License-Identifier: Apache-2.0
// Checks, joins and copies the segments of a row exchange.
#include "comm/rows.h"

#include "base/error.h"

namespace moebench {
namespace {

void check_segments(std::span<const Segment> segments, const TensorView& tensor) {
  for (const Segment& segment : segments) {
    MB_ASSERT(segment.first >= 0 && segment.rows >= 0);
    MB_ASSERT(segment.rows == 0 || segment.first <= tensor.rows - segment.rows);
  }
}

std::span<const Segment> of_peer(int peer, std::span<const Segment> all, const RowExchange& exchange) {
  const auto n = static_cast<std::size_t>(exchange.segments_per_peer);
  return all.subspan(static_cast<std::size_t>(peer) * n, n);
}

}  // namespace

void check_exchange(const RowExchange& exchange, const Comm& comm) {
  const auto n = static_cast<std::size_t>(exchange.segments_per_peer);
  const auto ranks = static_cast<std::size_t>(comm.size()), rank = static_cast<std::size_t>(comm.rank());
  MB_ASSERT(exchange.segments_per_peer >= 1);
  MB_ASSERT(exchange.sends.size() == n * ranks && exchange.recvs.size() == n * ranks);
  MB_ASSERT(exchange.send.dtype == exchange.recv.dtype && exchange.send.cols == exchange.recv.cols);
  check_segments(exchange.sends, exchange.send);
  check_segments(exchange.recvs, exchange.recv);
  for (std::size_t i = rank * n; i < (rank + 1) * n; ++i)
    MB_ASSERT(exchange.sends[i].rows == exchange.recvs[i].rows);
}

Round::Round(const RowExchange& whole, int segment) : send_(whole.send), recv_(whole.recv) {
  const auto n = static_cast<std::size_t>(whole.segments_per_peer);
  for (auto i = static_cast<std::size_t>(segment); i < whole.sends.size(); i += n) {
    sends_.push_back(whole.sends[i]);
    recvs_.push_back(whole.recvs[i]);
  }
}

std::vector<Segment> joined(std::span<const Segment> segments) {
  std::vector<Segment> result;
  for (const Segment& segment : segments) {
    if (segment.rows == 0) continue;
    if (!result.empty() && result.back().first + result.back().rows == segment.first)
      result.back().rows += segment.rows;
    else
      result.push_back(segment);
  }
  return result;
}

std::vector<Segment> sent_to(int peer, const RowExchange& exchange) {
  return joined(of_peer(peer, exchange.sends, exchange));
}

std::vector<Segment> received_from(int peer, const RowExchange& exchange) {
  return joined(of_peer(peer, exchange.recvs, exchange));
}

std::int64_t rows_in(std::span<const Segment> segments) {
  std::int64_t rows = 0;
  for (const Segment& segment : segments) rows += segment.rows;
  return rows;
}

std::byte* copy_out(Memory& memory, const TensorView& from, std::span<const Segment> segments,
                    std::byte* host) {
  for (const Segment& segment : segments) {
    const TensorView rows = from.slice(segment.first, segment.rows);
    memory.queue_copy(host, rows.data, rows.bytes());
    host += rows.bytes();
  }
  return host;
}

const std::byte* copy_in(Memory& memory, const TensorView& to, std::span<const Segment> segments,
                         const std::byte* host) {
  for (const Segment& segment : segments) {
    const TensorView rows = to.slice(segment.first, segment.rows);
    memory.queue_copy(rows.data, host, rows.bytes());
    host += rows.bytes();
  }
  return host;
}

void copy_own_rows(Memory& memory, const RowExchange& exchange, int rank) {
  const int n = exchange.segments_per_peer;
  for (int i = rank * n; i < (rank + 1) * n; ++i) {
    const TensorView from = exchange.send.slice(exchange.sends[i].first, exchange.sends[i].rows);
    const TensorView to = exchange.recv.slice(exchange.recvs[i].first, exchange.recvs[i].rows);
    memory.queue_copy(to.data, from.data, from.bytes());
  }
}

}  // namespace moebench
