// SPDX-License-Identifier: Apache-2.0
// How the experts of one rank are run: the axis `--engine`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/tensor.h"
#include "moe/exchange.h"
#include "moe/shape.h"

namespace moebench {

/// by_expert: rows of one expert lie side by side. by_token: rows lie in slot order, as a naive layer has them.
enum class RowOrder { by_token, by_expert };

/// The experts of one rank, as an engine sees them.
struct EngineShape {
  std::int64_t hidden, ffn, experts;  ///< experts: on this rank
  Activation activation;
  bool bias;
  DType dtype;
  bool backward;             ///< whether backward() will be called: activations must be kept
  std::int64_t top_k = 1;    ///< slots of a token
  bool single_rank = false;  ///< every expert and every token is on this rank: rows are not exchanged
  bool knows_slots = false;  ///< the slot of each row is known here: backward() can be given a ScoreGradient
  int streams = 16;

  std::int64_t w1_cols() const { return activation == Activation::swiglu ? 2 * ffn : ffn; }
};

/// The experts that each rank of a layer holds.
inline EngineShape engine_shape_of(const Shape& shape, bool backward, int streams,
                                   Exchange exchange = Exchange::fused) {
  return {.hidden = shape.hidden,
          .ffn = shape.ffn,
          .experts = shape.experts_per_rank(),
          .activation = shape.activation,
          .bias = shape.bias,
          .dtype = shape.dtype,
          .backward = backward,
          .top_k = shape.slots_per_token(),
          .single_rank = shape.ep == 1,
          .knows_slots = shape.ep == 1 || exchange == Exchange::direct,
          .streams = streams};
}

/// w1 [e·H, F or 2F], b1 [e, F or 2F], w2 [e·F, H], b2 [e, H]: e matrices stacked by rows.
/// Null data in b1 and b2 without biases.
struct ExpertTensors {
  TensorView w1, b1, w2, b2;
};

/// The part of a pass that one call runs, so that rows can be exchanged meanwhile: rows of each expert, and products.
/// A pass is all of its parts, in an order in which no product is asked for before what it reads. An engine may run a
/// product in an earlier part of the same rows than it was asked for.
struct ExpertsPart {
  std::span<const std::int32_t> begin,
      end;              // [e] rows of expert i are [begin[i], end[i]); empty: all of them
  double share = 1;     ///< of all rows, an estimate; only speed depends on it
  bool first = true;    ///< forward the product with W1 and the activation, backward the gradient of the rows
  bool second = true;   ///< forward the product with W2, backward the gradient through it and the activation
  bool weights = true;  ///< backward, of all rows whatever begin and end say: the weights' gradients
  int spare_units = 0;  ///< multiprocessors that other kernels hold when the part begins,
  double spare_us = 0;  ///< and for how long, an estimate; only speed depends on them
};

/// Rows in, rows out. `x` and `out` are in the order of the engine's traits; by_token needs one rank. Rows from
/// offsets[e] on do not exist (slots were dropped, or there is more room than rows): they are neither read nor written.
struct ExpertsForward {
  TensorView x;  // [n, H]; of an engine that gathers its input [T, H]
  std::span<const std::int32_t>
      offsets;  // [e + 1] in backend memory: rows of expert i are [offsets[i], offsets[i+1])
  std::span<const std::int64_t> host_offsets;   // the same on the host if already known there, else empty
  std::span<const std::int32_t> expert_of_row;  // [n], by_token only; -1: there is no such row
  std::span<const std::int32_t> slot_of;        // [n] row → slot, only if the engine gathers its input
  ExpertTensors weights;
  TensorView out;  // [n, H], every element of rows that exist is written
  /// [n] in backend memory, or empty: where row i of `out` is stored instead (H elements), perhaps on another rank. Of
  /// `out` only the size counts then. Needs traits().takes_parts.
  std::span<std::byte* const> out_rows;
  ExpertsPart part = {};
};

/// What an engine that computes_dscore needs for it and writes, by slot. dout is score · dy.
struct ScoreGradient {
  std::span<const std::int32_t> row_of;  // [S], -1: dropped
  std::span<const float> score;          // [S]
  std::span<float> dscore;               // [S], 0 if dropped
};

/// Uses what forward() kept; x, offsets and weights are those of the forward pass.
struct ExpertsBackward {
  ExpertsForward forward;
  TensorView dout;                      // [n, H]
  TensorView dx;                        // [n, H], every element of rows that exist is written
  std::span<std::byte* const> dx_rows;  // of dx, as ExpertsForward::out_rows
  ExpertTensors gradients;              // overwritten; zero for an expert without rows
  ScoreGradient scores = {};
};

/// What an engine needs of the rows it is given, and what else it computes on the way.
struct EngineTraits {
  RowOrder row_order = RowOrder::by_expert;
  /// x is [T, H]: the engine gathers its rows by slot_of while it loads them, and no stage `pack` runs before it.
  bool gathers_input = false;
  /// backward() also computes the gradient of the scores; what forward() returned is then not read again.
  bool computes_dscore = false;
  /// Runs a pass in parts, and stores rows at given addresses (out_rows, dx_rows); else every part is the whole.
  bool takes_parts = false;
  /// Without host_offsets forward() waits for the device: such a pass cannot be captured in a graph.
  bool waits_for_sizes = false;
  int row_copies = 0;  ///< tensors of all its rows [n, H] that it keeps itself
};

class Engine {
 public:
  virtual ~Engine() = default;

  virtual EngineTraits traits() const { return {}; }
  /// Allocates for up to `rows` rows; called before forward() whenever rows grow, never in a timed region once warm.
  virtual void reserve(std::int64_t rows) = 0;
  virtual void forward(const ExpertsForward& args) = 0;
  virtual void backward(const ExpertsBackward& args) = 0;
};

}  // namespace moebench
