// SPDX-License-Identifier: Apache-2.0
// The exchange of rows through memory that all ranks of one host see: what `--exchange direct` runs on a backend.
//
// P ranks, E experts in all and e = E / P on each rank, T tokens of a rank and M the most of any, K slots per token,
// H columns. Every rank owns one block of shared memory, laid out as PeerLayout says; all ranks address all blocks.
// A token's row is stored once at each other rank that has one of its experts; that rank copies it to the rows of its
// experts, and returns one partial sum per token. Flags order it; docs/exchange.md has the protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/tensor.h"

namespace moebench {

inline constexpr int kMaxPeers = 16;

/// One flag per rank and event, written by that rank alone: the number of the step that it has reached, of `start`
/// the number of barriers.
enum class PeerEvent { counts, rows, outputs, output_gradients, input_gradients, start };
inline constexpr int kPeerEvents = 6;
/// What a rank waits for, by event: "row counts".
std::string_view awaited(PeerEvent event);

/// Byte offsets within each rank's block; the same on all ranks.
struct PeerLayout {
  std::size_t flags;   ///< [events, P] uint32: [event, r] is written by rank r
  std::size_t counts;  ///< [P, E] int32: rows of each expert that rank p's tokens make
  std::size_t row_of;  ///< [P, M, K] int32: slot of rank p → this rank's row, −1: not here
  std::size_t score;   ///< [P, M, K] fp32
  std::size_t dscore;  ///< [M, K] fp32, of this rank's tokens
  std::size_t inbox;   ///< [P, M, H]: token rows of rank p
  std::size_t
      partial;  ///< [P, M, H]: sums that rank p made for this rank's tokens; empty if rows return by slot
  std::size_t by_slot;  ///< [M, K, H]: the experts' rows for this rank's tokens; empty if sums return
  std::size_t bytes;    ///< of the block
};
/// Arrays aligned to 256 bytes.
PeerLayout peer_layout(int ranks, std::int64_t experts, std::int64_t max_tokens, std::int64_t top_k,
                       std::size_t row_bytes, bool returns_by_slot = false);

/// The blocks of all ranks as this process addresses them, and what they are laid out for.
struct PeerGroup {
  int rank = 0, size = 1;
  int first_rank = 0;  ///< the number of the group's rank 0 among all ranks, for messages
  std::byte* block[kMaxPeers] = {};
  std::int32_t tokens[kMaxPeers] = {};  ///< T of each rank
  std::int64_t experts = 0, max_tokens = 0, top_k = 1, hidden = 0;
  DType dtype = DType::fp32;
  PeerLayout at{};
  double timeout_s = 300;        ///< no wait lasts longer
  int beside_units = 0;          ///< multiprocessors of a push or reduce beside other work
  bool returns_by_slot = false;  ///< the experts store their rows at the token's rank; else sums return

  std::int64_t experts_per_rank() const { return experts / size; }
};

/// What `plan` found for this rank's tokens, and what the counts of all ranks make of it.
struct PeerCounts {
  std::span<const std::int32_t> counts;  // [E] of this rank's tokens
  std::span<std::int32_t> first_row;     // [E] where this rank's rows of expert i begin, at the expert's rank
  std::span<std::int32_t>
      local_offsets;  // [e + 1] of this rank's experts' rows: those of its own tokens first, then
                      // those of the next rank's, and so on
  std::span<std::int32_t> own_end;  // [e] where the rows of this rank's own tokens end
  std::int64_t max_rows = 0;        ///< rows there is memory for: more is an overflow
};

/// A row of every token to the ranks that have its experts.
struct PeerPush {
  PeerEvent event = PeerEvent::rows;
  TensorView x;                             // [T, H]
  std::span<const std::int32_t> expert_of;  // [T, K]
  // For PeerEvent::rows only, else empty:
  std::span<const std::int32_t> row_of, offsets, first_row;  // [T, K] and [E + 1] of `plan`; [E]
  std::span<const float> score;                              // [T, K]
  const PeerCounts* counts =
      nullptr;  ///< not null: exchange_counts() with these while rows travel; not beside
  /// What else runs while rows travel, not beside. own_rows [n, H], unless it has no data: the rows of own tokens at this
  /// rank's experts, as spread() or scale() of PeerTokens::own would write them; return_to as in PeerSpread. dots, if rows
  /// return by slot: dscore = <dy, output row> of this rank's tokens.
  TensorView own_rows = {};
  std::span<std::byte*> return_to = {};
  bool dots = false;
  bool beside = false;
};

/// Whose tokens a call is about.
enum class PeerTokens { all, own, received };

/// Rows of the received tokens and of this rank's own → the rows of this rank's experts, [n, H] in expert order.
struct PeerSpread {
  TensorView x, rows;  // own tokens [T, H]; [n, H]
  PeerTokens of = PeerTokens::all;
  std::span<std::byte*>
      return_to;  ///< [n] or empty: gets the place of row i among `by_slot` at its token's rank
  // For PeerTokens::own, which does not wait for the push, else empty:
  std::span<const std::int32_t> expert_of, row_of, offsets, first_row;  // as in PeerPush
};

/// Per received token the (weighted) sum of its rows here, stored at the token's rank.
struct PeerReduce {
  PeerEvent event = PeerEvent::outputs;
  TensorView rows;       // [n, H]
  bool weighted = true;  ///< by the slot's score
  bool beside = false;
};

/// y [T, H] = the (weighted) sum of this rank's own rows and of the other ranks' partial sums, in the order of ranks; if
/// rows return by slot, of those.
struct PeerSum {
  TensorView rows, y;                       // [n, H], [T, H]
  std::span<const std::int32_t> expert_of;  // [T, K]
  bool weighted = true;
  std::span<float> dscore;  // [T, K]: copied from the shared block; empty without gradients
};

/// drows = score · dy for every row of this rank's experts, and dscore = <dy, output row>, stored at the token's rank,
/// unless `out` has no data: then another call brings dscore.
struct PeerScale {
  TensorView dy, out, drows;  // own tokens [T, H]; [n, H]; [n, H]
  PeerTokens of = PeerTokens::all;
};

/// Calls are made in the order of the exchange, by all ranks of the group, once per step each: exchange_counts (alone or as
/// a part of the next), push rows, spread, (experts), reduce or finish, sum; then push output gradients, scale, (experts), reduce or finish, sum. All work is queued
/// on the backend's stream, but for a push or reduce `beside`: that begins where the stream is when it is called, runs
/// beside what the stream is given later, and is over for the stream after wait_for(its event). A wait on the device ends after the group's timeout, on an interrupt, or when a peer gave
/// up; check() then throws.
class PeerKernels {
 public:
  virtual ~PeerKernels() = default;

  /// A barrier (on the device) of all ranks, apart from the steps: later work starts when every rank has come here.
  virtual void start_together() = 0;
  /// Begins a step. Waits (on the device) for the counts of all ranks.
  virtual void exchange_counts(const PeerCounts& args) = 0;
  /// Returns (on the device) when the rows of all ranks have arrived; beside other work at once.
  virtual void push(const PeerPush& args) = 0;
  virtual void spread(const PeerSpread& args) = 0;
  /// Returns (on the device) when the sums of all ranks have arrived; beside other work at once.
  virtual void reduce(const PeerReduce& args) = 0;
  /// Later work on the stream sees what the push or reduce of `event`, which ran beside it, brought.
  virtual void wait_for(PeerEvent event) = 0;
  virtual void sum(const PeerSum& args) = 0;
  virtual void scale(const PeerScale& args) = 0;
  /// dscore [P, M, K] fp32 of the slots that have rows here, to the ranks of their tokens. Before the end of the input
  /// gradients (reduce or finish).
  virtual void send_dscore(std::span<const float> dscore) = 0;
  /// If rows return by slot: the experts have stored all rows of `event`, outputs or input_gradients. Returns (on the
  /// device) when those of all ranks have.
  virtual void finish(PeerEvent event) = 0;
  /// Microseconds, as far as is foreseen, of a push or reduce beside other work that moves so many bytes over the link
  /// and reads so many of this rank's memory.
  virtual double beside_us(double /*link_bytes*/, double /*memory_bytes*/) const { return 0; }
  /// Throws TimeoutError or Interrupted if a wait has ended early, Error if a step had more rows than memory. Does not
  /// wait for the device.
  virtual void check() = 0;
};

}  // namespace moebench
