// SPDX-License-Identifier: Apache-2.0
// How the experts of one rank are run: the axis `--engine`.
#pragma once

#include <cstdint>
#include <span>

#include "base/tensor.h"
#include "moe/shape.h"
#include "moe/stage.h"

namespace moebench {

/// by_expert: rows of one expert lie side by side. by_token: rows lie in slot order, as a naive layer has them.
enum class RowOrder { by_token, by_expert };

/// The experts of one rank, as an engine sees them.
struct EngineShape {
  std::int64_t hidden, ffn, experts;  ///< experts: on this rank
  Activation activation;
  bool bias;
  DType dtype;
  bool backward;  ///< whether backward() will be called: activations must be kept
  std::int64_t top_k = 1;
  bool alone = false;  ///< every expert and every token is on this rank: rows do not travel
  int streams = 16;

  std::int64_t w1_cols() const { return activation == Activation::swiglu ? 2 * ffn : ffn; }
};

/// w1 [e·H, F or 2F], b1 [e, F or 2F], w2 [e·F, H], b2 [e, H]: e matrices stacked by rows.
/// Null data in b1 and b2 without biases.
struct ExpertTensors {
  TensorView w1, b1, w2, b2;
};

/// Rows in, rows out. `x` and `out` are in the engine's row_order(); by_token needs one rank.
struct ExpertsForward {
  TensorView x;  // [n, H]; of an engine that takes_tokens() [T, H]
  std::span<const std::int32_t>
      offsets;  // [e + 1] in backend memory: rows of expert i are [offsets[i], offsets[i+1])
  std::span<const std::int64_t> host_offsets;   // the same on the host if already known there, else empty
  std::span<const std::int32_t> expert_of_row;  // [n], by_token only
  std::span<const std::int32_t> slot_of;        // [n] row → slot, only if the engine takes_tokens()
  ExpertTensors weights;
  TensorView out;  // [n, H], every element written
};

/// What an engine that gives_dscore() needs for it and writes, by slot. dout is score · dy.
struct ScoreGradient {
  std::span<const std::int32_t> row_of;  // [S]
  std::span<const float> score;          // [S]
  std::span<float> dscore;               // [S]
};

/// Uses what forward() kept; x, offsets and weights are those of the forward pass.
struct ExpertsBackward {
  ExpertsForward forward;
  TensorView dout;          // [n, H]
  TensorView dx;            // [n, H], every element written
  ExpertTensors gradients;  // overwritten; zero for an expert without rows
  ScoreGradient scores = {};
};

class Engine {
 public:
  virtual ~Engine() = default;

  virtual RowOrder row_order() const { return RowOrder::by_expert; }
  /// Whether it finds its rows among the tokens itself: then `pack` is part of `experts`.
  virtual bool takes_tokens() const { return false; }
  /// Whether backward() also gives the gradient of the scores, so that nobody needs to read what forward() returned.
  virtual bool gives_dscore() const { return false; }
  /// A stage this engine does inside `experts`: the layer skips it and the record says so.
  bool fuses(Stage stage, Pass pass) const {
    return stage == Stage::pack && pass == Pass::forward && takes_tokens();
  }
  /// Whether forward() waits for the device when it is not given `host_offsets`: such a pass cannot be captured in a graph.
  virtual bool synchronises_host() const { return false; }
  /// Makes room for `rows`; called before forward() whenever rows grow, never in a timed region once warm.
  virtual void reserve(std::int64_t rows) = 0;
  virtual void forward(const ExpertsForward& args) = 0;
  virtual void backward(const ExpertsBackward& args) = 0;
};

}  // namespace moebench
