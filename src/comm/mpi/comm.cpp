// SPDX-License-Identifier: Apache-2.0
// Sizes, rows and sums as MPI messages.
#include "comm/mpi/comm.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "comm/mpi/device_pointers.h"
#include "comm/mpi/sum.h"
#include "comm/mpi/watchdog.h"

namespace moebench {
namespace {

enum Tag { kSizesTag, kRowsTag };

/// Where the rows of a message start and what they look like to MPI.
struct Layout {
  void* start;
  int count;
  MPI_Datatype type;
  Datatype owned;  ///< the type, if it was made for this message
};

/// Adjacent rows are `count` rows; scattered ones are one element of a type that knows where they are.
Layout layout_of(const TensorView& tensor, const std::vector<Segment>& segments, MPI_Datatype row) {
  if (segments.size() == 1) {
    const TensorView rows = tensor.slice(segments[0].first, segments[0].rows);
    return {rows.data, checked_count(rows.rows, "rows"), row, {}};
  }
  std::vector<int> lengths;
  std::vector<MPI_Aint> offsets;
  for (const Segment& segment : segments) {
    lengths.push_back(checked_count(segment.rows, "rows"));
    offsets.push_back(static_cast<MPI_Aint>(segment.first) * static_cast<MPI_Aint>(tensor.row_bytes()));
  }
  MPI_Datatype handle;
  MB_MPI(MPI_Type_create_hindexed(checked_count(segments.size(), "segments"), lengths.data(), offsets.data(),
                                  row, &handle));
  Datatype type(handle);
  const MPI_Datatype view = type.get();
  return {tensor.data, 1, view, std::move(type)};
}

/// Peers in the order rank+1, rank+2, …: no peer is everybody's first.
std::vector<int> peers_of(const Group& group) {
  std::vector<int> peers;
  for (int i = 1; i < group.size; ++i) peers.push_back((group.rank + i) % group.size);
  return peers;
}

}  // namespace

MpiComm::MpiComm(std::shared_ptr<Session> session, Group group, Memory& memory)
    : session_(std::move(session)), group_(std::move(group)), memory_(memory) {}

void MpiComm::exchange_sizes(std::span<const std::int64_t> send, std::span<std::int64_t> recv) {
  MB_ASSERT(send.size() == recv.size() && send.size() % group_.size == 0);
  const std::size_t n = send.size() / group_.size;
  const int count = checked_count(n, "sizes");
  Requests requests(group_);
  for (const int peer : peers_of(group_))
    requests.receive(recv.data() + peer * n, count, MPI_INT64_T, peer, kSizesTag);
  for (const int peer : peers_of(group_))
    requests.send(send.data() + peer * n, count, MPI_INT64_T, peer, kSizesTag);
  std::copy_n(send.begin() + group_.rank * n, n, recv.begin() + group_.rank * n);
  requests.wait("sizes");
}

MPI_Datatype MpiComm::row_type(std::size_t bytes) {
  if (bytes != row_bytes_) {
    MPI_Datatype handle;
    MB_MPI(MPI_Type_contiguous(checked_count(bytes, "bytes per row"), MPI_BYTE, &handle));
    row_ = Datatype(handle);
    row_bytes_ = bytes;
  }
  return row_.get();
}

void MpiComm::exchange_rows(const RowExchange& exchange) {
  check_exchange(exchange, *this);
  if (exchange.send.row_bytes() == 0) return;
  if (exchange.form == ExchangeForm::fused || exchange.segments_per_peer == 1)
    return exchange_round(exchange);
  for (int segment = 0; segment < exchange.segments_per_peer; ++segment)
    exchange_round(Round(exchange, segment).exchange());
}

void MpiComm::exchange_round(const RowExchange& exchange) {
  if (memory_.host_accessible() || takes_device_pointers()) {
    memory_.finish_copies();  // MPI knows no stream: what it sends must be there
    exchange_direct(exchange);
    memory_.finish_copies();
  } else {
    exchange_staged(exchange);
  }
}

void MpiComm::exchange_direct(const RowExchange& exchange) {
  const MPI_Datatype row = row_type(exchange.send.row_bytes());
  // A peer may be waiting for a message that an earlier error here would never send: make all layouts first.
  std::vector<std::pair<int, Layout>> recvs, sends;
  for (const int peer : peers_of(group_)) {
    if (const auto segments = received_from(peer, exchange); !segments.empty())
      recvs.emplace_back(peer, layout_of(exchange.recv, segments, row));
    if (const auto segments = sent_to(peer, exchange); !segments.empty())
      sends.emplace_back(peer, layout_of(exchange.send, segments, row));
  }
  Requests requests(group_);
  // Sends first: a peer then hears of our rows before it hears that we take its own. The other way round, a
  // peer that began earlier fills the one TCP connection with its rows, our turn queues behind them, and a
  // full duplex link carries one direction at a time (seen with Open MPI 4.1: half the rate).
  for (const auto& [peer, rows] : sends) requests.send(rows.start, rows.count, rows.type, peer, kRowsTag);
  for (const auto& [peer, rows] : recvs) requests.receive(rows.start, rows.count, rows.type, peer, kRowsTag);
  copy_own_rows(memory_, exchange, group_.rank);
  requests.wait("rows");
}

void MpiComm::exchange_staged(const RowExchange& exchange) {
  const std::size_t row_bytes = exchange.send.row_bytes();
  const MPI_Datatype row = row_type(row_bytes);
  const auto bytes_of = [&](std::span<const Segment> segments) {
    return static_cast<std::size_t>(rows_in(segments)) * row_bytes;
  };
  std::byte* const outbox = outbox_.reserve(bytes_of(exchange.sends));
  std::byte* const inbox = inbox_.reserve(bytes_of(exchange.recvs));
  std::byte* out = outbox;
  for (const int peer : peers_of(group_))
    out = copy_out(memory_, exchange.send, sent_to(peer, exchange), out);
  copy_own_rows(memory_, exchange, group_.rank);
  memory_.finish_copies();

  Requests requests(group_);
  const std::byte* sent = outbox;
  std::byte* in = inbox;
  for (const int peer : peers_of(group_)) {
    const std::int64_t rows = rows_in(sent_to(peer, exchange));
    if (rows > 0) requests.send(sent, checked_count(rows, "rows"), row, peer, kRowsTag);
    sent += static_cast<std::size_t>(rows) * row_bytes;
  }
  for (const int peer : peers_of(group_)) {
    const std::int64_t rows = rows_in(received_from(peer, exchange));
    if (rows > 0) requests.receive(in, checked_count(rows, "rows"), row, peer, kRowsTag);
    in += static_cast<std::size_t>(rows) * row_bytes;
  }
  requests.wait("rows");
  const std::byte* arrived = inbox;
  for (const int peer : peers_of(group_))
    arrived = copy_in(memory_, exchange.recv, received_from(peer, exchange), arrived);
  memory_.finish_copies();  // the next exchange uses the inbox again
}

void MpiComm::all_reduce(TensorView tensor) {
  if (memory_.host_accessible()) return sum_over(group_, tensor.data, tensor.size(), tensor.dtype);
  std::byte* const host = inbox_.reserve(tensor.bytes());
  memory_.queue_copy(host, tensor.data, tensor.bytes());
  memory_.finish_copies();
  sum_over(group_, host, tensor.size(), tensor.dtype);
  memory_.queue_copy(tensor.data, host, tensor.bytes());
  memory_.finish_copies();
}

std::unique_ptr<Comm> MpiComm::split(int color) {
  MB_ASSERT(color >= 0);
  std::vector<int> colors(static_cast<std::size_t>(group_.size), color);
  std::vector<std::span<std::byte>> blocks;
  for (int& of_peer : colors) blocks.push_back(std::as_writable_bytes(std::span(&of_peer, 1)));
  // Unlike MPI_Comm_split, it names missing ranks.
  exchange_blocks(group_, std::as_bytes(std::span(&color, 1)), blocks, "a handshake");
  if (std::all_of(colors.begin(), colors.end(), [&](int other) { return other == color; }))
    return std::make_unique<MpiComm>(session_, Group(duplicate(group_), group_.policy), memory_);
  MPI_Comm handle;
  if (std::set<int>(colors.begin(), colors.end()).size() ==
      colors.size()) {  // groups of one rank: nothing to wait for
    MB_MPI(MPI_Comm_dup(MPI_COMM_SELF, &handle));
    return std::make_unique<MpiComm>(session_, Group(Communicator(handle), group_.policy), memory_);
  }
  const MpiWatchdog watchdog(group_.policy.timeout_s, "MPI_Comm_split");
  MB_MPI(MPI_Comm_split(group_.comm.get(), color, group_.rank, &handle));
  return std::make_unique<MpiComm>(session_, Group(Communicator(handle), group_.policy), memory_);
}

}  // namespace moebench
