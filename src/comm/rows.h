// SPDX-License-Identifier: Apache-2.0
// A peer's rows in a row matrix: which, how many, and how they are copied to and from host bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/memory.h"
#include "base/tensor.h"
#include "comm/comm.h"

namespace moebench {

/// Asserts what every exchange must satisfy before a byte moves: n segments for each rank of `comm`, inside
/// their tensors, tensors of one dtype and width, and equal on both sides for the rows that stay on this
/// rank.
void check_exchange(const RowExchange& exchange, const Comm& comm);

/// The part of an exchange that carries segment `segment` of every peer, as an exchange of its own.
class Round {
 public:
  Round(const RowExchange& whole, int segment);
  RowExchange exchange() const { return {.send = send_, .recv = recv_, .sends = sends_, .recvs = recvs_}; }

 private:
  TensorView send_, recv_;
  std::vector<Segment> sends_, recvs_;
};

/// `segments` without the empty ones, adjacent ones joined.
std::vector<Segment> joined(std::span<const Segment> segments);

/// What goes to `peer`, and what comes from it, joined.
std::vector<Segment> sent_to(int peer, const RowExchange& exchange);
std::vector<Segment> received_from(int peer, const RowExchange& exchange);

std::int64_t rows_in(std::span<const Segment> segments);

/// Queues copies of the segments' rows out of `from` one after the other to `host`, which
/// Memory::allocate_host() gave; returns the end of what will be written.
std::byte* copy_out(Memory& memory, const TensorView& from, std::span<const Segment> segments,
                    std::byte* host);
/// The reverse: fills the segments' rows of `to` from `host`; returns the end of what will be read.
const std::byte* copy_in(Memory& memory, const TensorView& to, std::span<const Segment> segments,
                         const std::byte* host);

/// Copies the rows that stay on this rank; queued like other copies of `memory`.
void copy_own_rows(Memory& memory, const RowExchange& exchange, int rank);

}  // namespace moebench
