// SPDX-License-Identifier: Apache-2.0
// What follows a product, on its way from accumulators to memory.
//
// When a tile is summed, each thread packs its 128 numbers into 64 words of two 16-bit elements, and the
// accumulators are free for the next tile. The words are then worked off in steps of 64, 32 or 16 tokens
// between the next tile's matrix instructions: activation or derivative, a transposition through shared
// memory (a thread holds neighbouring tokens, memory wants neighbouring features), and 128 bytes of each row
// at a time to memory. Stores by the copy engine were tried and are no faster (docs/kernels.md).
#pragma once

#include "backends/cuda/activation.cuh"
#include "backends/cuda/grouped/hopper.cuh"
#include "backends/cuda/grouped/walker.cuh"

namespace moebench::cuda::grouped {

inline constexpr int kGroupThreads = 128;
inline constexpr int kStagingBytes = 16 * 1024;  ///< of a warpgroup

/// kStored: tokens of a step that only stores.
template <class T, Form kForm, After kAfter, Activation kActivation, int kStored>
class Epilogue {
 public:
  static constexpr bool kGlu = kActivation == Activation::swiglu;
  static constexpr bool kGated =
      kAfter == After::activate && kGlu;  ///< the product is gate and up of the same features
  static constexpr int kTokensOfStep = kAfter == After::store ? kStored : kGlu ? 16 : 32;
  static constexpr int kBoxBytes = kTokensOfStep * 128;
  static constexpr int kPairs = kTokensOfStep / 16;  ///< of 8x8 matrices: 16 tokens
  static constexpr int kInputs = kGlu ? 2 : 1;       ///< what one element of act is made of

  /// `staging`: kStagingBytes, aligned to 1024.
  __device__ Epilogue(const Sizes& sizes, std::uint32_t staging) : s_(sizes), staging_(staging) {}

  /// Takes over a tile's sums. No step may be left.
  __device__ __forceinline__ void take(const float (&d)[128], const Work& w) {
    feature_ = w.feature + 64 * group();
    row_ = (kForm == Form::gradient ? w.expert * s_.tokens : w.row) + w.token;
    tokens_ = w.tokens;
    step_ = 0;
    steps_ = feature_ < s_.features ? ceil_div(w.tokens, kTokensOfStep) : 0;
    if constexpr (kAfter == After::differentiate)
      if (steps_ > 0) fetch(0);
    float bias[2][2] = {};
    if constexpr (kAfter != After::differentiate && kForm == Form::forward) read_bias(w.expert, bias);
#pragma unroll
    for (int j = 0; j < 32; ++j) {
      const int part = kGated && j >= 16 ? 1 : 0;
      words_[2 * j] = packed<T>(d[4 * j] + bias[part][0], d[4 * j + 1] + bias[part][0]);
      words_[2 * j + 1] = packed<T>(d[4 * j + 2] + bias[part][1], d[4 * j + 3] + bias[part][1]);
    }
  }

  /// Steps still to be worked off.
  __device__ int left() const { return steps_ - step_; }

  /// Works off one step; there is one left. By all threads of the warpgroup. The step takes the first words
  /// and moves the others up: one copy of its code stays in the instruction cache, where one per step does
  /// not.
  __device__ __forceinline__ void advance() {
    do_step();
    ++step_;
    constexpr int kWords = kTokensOfStep / 4, kParts = kGated ? 2 : 1, kAll = 64 / kParts;
#pragma unroll
    for (int part = 0; part < kParts; ++part)
#pragma unroll
      for (int i = 0; i + kWords < kAll; ++i) words_[part * kAll + i] = words_[part * kAll + i + kWords];
  }

 private:
  using A = Act<std::conditional_t<std::is_same_v<T, __half>, Functions<T>, QuickFunctions>, kActivation>;

  static __device__ int group() { return static_cast<int>(threadIdx.x) / kGroupThreads; }
  static __device__ int thread() { return static_cast<int>(threadIdx.x) % kGroupThreads; }
  static __device__ void sync() { sync_threads(1 + group(), kGroupThreads); }

  /// Box `index` of a half of the staging space; steps use the halves in turn. With 16 tokens 4 boxes of 2
  /// KB, else 2 of 4 KB.
  __device__ std::uint32_t box(unsigned half, int index) const {
    return staging_ + half * (kStagingBytes / 2) + static_cast<unsigned>(index * kBoxBytes);
  }
  /// Where this lane's row of a 8x8 matrix lies in a box: two blocks of 8 tokens, two of the warp's 16
  /// features.
  __device__ std::uint32_t matrix_row(std::uint32_t box, int pair) const {
    const int lane = lane_of_warp(), token = 16 * pair + (lane >> 4) * 8 + (lane & 7),
              unit = 2 * (thread() / 32) + ((lane >> 3) & 1);
    return box + token * 128 + ((unit ^ (token & 7)) << 4);
  }

  __device__ void read_bias(int expert, float (&bias)[2][2]) const {
    if (!s_.bias) return;
    const T* of = static_cast<const T*>(s_.bias) +
                  static_cast<std::int64_t>(expert) * (kGated ? 2 * s_.features : s_.features);
#pragma unroll
    for (int part = 0; part < (kGated ? 2 : 1); ++part)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int feature = feature_ + 16 * (thread() / 32) + lane_of_warp() / 4 + 8 * i;
        if (feature < s_.features) bias[part][i] = to_float(of[part * s_.features + feature]);
      }
  }

  /// Element [row, col] of [gate | up]'s first or second.
  __device__ std::int64_t element(int row, int cols, int which) const {
    return static_cast<std::int64_t>(row) * cols + which * s_.features + feature_ + thread() % 8 * 8;
  }
  __device__ bool in_range(int step, int token) const {
    return step * kTokensOfStep + token < tokens_ && feature_ + thread() % 8 * 8 < s_.features;
  }
  /// This thread's 16 bytes of a box: of 8 threads a token.
  __device__ std::uint32_t unit_of_box(std::uint32_t box, int token) const {
    return box + token * 128 + ((thread() % 8 ^ (token & 7)) << 4);
  }

  /// Loads pre of a step into registers.
  __device__ void fetch(int step) {
#pragma unroll
    for (int i = 0; i < kInputs; ++i)
#pragma unroll
      for (int p = 0; p < kPairs; ++p) {
        const int token = 16 * p + thread() / 8;
        held_[i][p] = {};
        if (in_range(step, token))
          held_[i][p] = *reinterpret_cast<const uint4*>(
              static_cast<const T*>(s_.pre) + element(row_ + step * kTokensOfStep + token, s_.pre_cols, i));
      }
  }

  __device__ __forceinline__ void do_step() {
    // What used this half last, two steps ago, was read before the barrier of the last step.
    const unsigned half = half_;
    half_ ^= 1;
    if constexpr (kAfter == After::store) {
#pragma unroll
      for (int p = 0; p < kPairs; ++p) put(box(half, 0), p, &words_[4 * p]);
      store(Target{box(half, 0), s_.out, s_.out_cols, 0});
    } else if constexpr (kAfter == After::activate) {
#pragma unroll
      for (int p = 0; p < kPairs; ++p) {
        const unsigned* const first = &words_[4 * p];
        unsigned act[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float2 in = unpacked<T>(first[i]),
                       up = kGated ? unpacked<T>(first[i + (kGated ? 32 : 0)]) : in;
          const float low[2] = {in.x, up.x}, high[2] = {in.y, up.y};
          act[i] = packed<T>(A::forward(low), A::forward(high));
        }
        put(box(half, 0), p, act);
        if (!s_.pre) continue;
        put(box(half, 1), p, first);
        if constexpr (kGated) put(box(half, 2), p, first + 32);
      }
      const Target act{box(half, 0), s_.out, s_.out_cols, 0}, pre{box(half, 1), s_.pre, s_.pre_cols, 0};
      if constexpr (kGated)
        store(act, pre, Target{box(half, 2), s_.pre, s_.pre_cols, 1});
      else
        store(act, pre);
    } else {
#pragma unroll
      for (int i = 0; i < kInputs; ++i)
#pragma unroll
        for (int p = 0; p < kPairs; ++p) {
          const uint4 words = held_[i][p];
          asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(
                           unit_of_box(box(half, i), 16 * p + thread() / 8)),
                       "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w)
                       : "memory");
        }
      if (step_ + 1 < steps_) fetch(step_ + 1);
      sync();
#pragma unroll
      for (int p = 0; p < kPairs; ++p) {
        unsigned pre[kInputs][4], out[2][4];
#pragma unroll
        for (int i = 0; i < kInputs; ++i) load_matrices(matrix_row(box(half, i), p), pre[i]);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float2 gradient = unpacked<T>(words_[4 * p + i]), in = unpacked<T>(pre[0][i]),
                       up = unpacked<T>(pre[kInputs - 1][i]);
          const float low[2] = {in.x, up.x}, high[2] = {in.y, up.y};
          float of_low[2] = {}, of_high[2] = {};
          A::backward(gradient.x, low, of_low);
          A::backward(gradient.y, high, of_high);
          out[0][i] = packed<T>(of_low[0], of_high[0]);
          out[1][i] = packed<T>(of_low[1], of_high[1]);
        }
        put(box(half, kInputs), p, out[0]);
        if constexpr (kGlu) put(box(half, kInputs + 1), p, out[1]);
      }
      const Target gate{box(half, kInputs), s_.out, s_.out_cols, 0};
      if constexpr (kGlu)
        store(gate, Target{box(half, kInputs + 1), s_.out, s_.out_cols, 1});
      else
        store(gate);
    }
  }

  __device__ void put(std::uint32_t to, int pair, const unsigned* words) const {
    const unsigned four[4] = {words[0], words[1], words[2], words[3]};
    store_matrices(matrix_row(to, pair), four);
  }

  /// A box and where it goes: a matrix with rows of `cols`; of [gate | up] the first or second.
  struct Target {
    std::uint32_t box;
    void* matrix;
    int cols, which;
  };

  template <class... Targets>
  __device__ __forceinline__ void store(const Targets&... targets) {
    sync();
#pragma unroll
    for (int token = thread() / 8; token < kTokensOfStep; token += kGroupThreads / 8)
      if (in_range(step_, token)) (write(targets, row_ + step_ * kTokensOfStep, token), ...);
  }
  __device__ void write(const Target& to, int row, int token) const {
    if (!to.matrix) return;  // pre that nobody wants
    uint4 words;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
                 : "r"(unit_of_box(to.box, token)));
    *reinterpret_cast<uint4*>(static_cast<T*>(to.matrix) + element(row + token, to.cols, to.which)) = words;
  }

  const Sizes& s_;
  std::uint32_t staging_;
  unsigned half_ = 0;  ///< the next step's half of the staging space
  int feature_ = 0, row_ = 0, tokens_ = 0, step_ = 0, steps_ = 0;
  uint4 held_[kInputs][kPairs];  ///< pre of the next step
  unsigned words_[64];  ///< word 2j: tokens 8j + 2(l % 4) and the next of feature l / 4; word 2j + 1: of
                        ///< feature l / 4 + 8
};

}  // namespace moebench::cuda::grouped
