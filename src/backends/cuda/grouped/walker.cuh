// SPDX-License-Identifier: Apache-2.0
// Which tiles a cluster computes, found on the device from the rows of each expert.
#pragma once

#include "backends/cuda/grouped/layout.cuh"
#include "backends/cuda/grouped/product.h"
#include "backends/cuda/grouped/schedule.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda::grouped {

/// What a kernel is made for, and what follows from it for its tiles: one part of 128 features, or two, gate
/// and up.
template <Form kFormOf, After kAfterOf, Activation kActivationOf, Rings kRingsOf, bool kGathersOf = false,
          bool kDotsOf = false>
struct Kind {
  static constexpr Rings kRings = kRingsOf;
  static constexpr Form kForm = kFormOf;
  static constexpr After kAfter = kAfterOf;
  static constexpr Activation kActivation = kActivationOf;
  static constexpr bool kGathers = kGathersOf;  ///< rows lie by token
  static constexpr bool kDots = kDotsOf;        ///< see Product::dots
  static constexpr bool kGradient = kForm == Form::gradient;
  static constexpr bool kGlu = kActivation == Activation::swiglu;
  static constexpr bool kGated = kAfter == After::activate && kGlu;
  static constexpr int kParts = kGated ? 2 : 1;
  static constexpr int kMost = most_tokens(kRings);
  static constexpr int kTokens = kMost / kParts;  ///< of a tile at most
  static constexpr int kSums = kMost / 2;         ///< of a thread that multiplies
};

/// A product as the kernel sees it. features: columns of the product, for SwiGLU's first those of the gate.
struct Sizes {
  const std::int32_t* offsets;
  int experts, features;
  int tokens;  ///< `gradient`: rows of the product, per expert
  int inner;   ///< `forward` and `transposed`: length of the sums
  int total_rows;
  const void* bias;  ///< [experts, features, or twice that for SwiGLU's first]
  void *out, *pre;
  int out_cols, pre_cols;
  const void* by_token;  ///< Product::left and its columns, slots and top-k, if it is gathered
  int token_cols, top_k;
  const std::int32_t* slot_of;
  float* dots;
};

/// How the copy engine sees it; as a kernel parameter: it is read where it is.
struct Tensors {
  CUtensorMap features, tokens;
  CUtensorMap stored;  ///< what the copy engine stores as it was summed: out, or pre where out is activated
};

/// This block's tile: features from here on, tokens [token, token + tokens) of the expert, perhaps none.
struct Work {
  int expert, row, rows;  ///< the expert's rows: where they begin, how many there are
  int feature, token, tokens;
  int inner;  ///< inner blocks, at least 1
};

/// Publishes a task at this place of the ring; by one thread. A task without inner blocks is the last.
template <Rings kRings>
__device__ void write_task(const Shared<kRings>& shared, const Turn<kTasks>& turn, const Work& w) {
  barrier_wait(shared.task_empty(turn.place), turn.parity ^ 1);
  const auto word = [](int i) { return static_cast<unsigned>(i); };
  store_shared(shared.task(turn.place), {word(w.expert), word(w.row), word(w.rows), word(w.feature)});
  store_shared(shared.task(turn.place) + 16, {word(w.token), word(w.tokens), word(w.inner), 0});
  barrier_arrive(shared.task_full(turn.place));
}
/// By a warp; every warp but the producer reads every task.
template <Rings kRings>
__device__ Work read_task(const Shared<kRings>& shared, const Turn<kTasks>& turn) {
  barrier_wait(shared.task_full(turn.place), turn.parity);
  const uint4 a = load_shared(shared.task(turn.place)), b = load_shared(shared.task(turn.place) + 16);
  __syncwarp();
  if (lane_of_warp() == 0) barrier_arrive(shared.task_empty(turn.place));
  const auto number = [](unsigned word) { return static_cast<int>(word); };
  return {.expert = number(a.x),
          .row = number(a.y),
          .rows = number(a.z),
          .feature = number(a.w),
          .token = number(b.x),
          .tokens = number(b.y),
          .inner = number(b.z)};
}

/// Walks the units of this cluster in order, all lanes of a warp together.
template <class K>
class Walker {
  static constexpr bool kGradient = K::kGradient;

 public:
  /// By all threads of the block; `costs` [kCandidates] in shared memory.
  __device__ Walker(const Sizes& sizes, float* costs)
      : s_(sizes),
        rank_(static_cast<int>(cluster_rank())),
        together_(K::kGathers ? static_cast<int>(cluster_size()) : 1),
        unit_features_(kTileFeatures * (K::kGathers ? 1 : static_cast<int>(cluster_size()))),
        feature_units_(ceil_div(sizes.features, unit_features_)) {
    const int size = static_cast<int>(cluster_size());
    clusters_ = static_cast<int>(gridDim.x) / size;
    unit_ = static_cast<int>(blockIdx.x) / size;
    for (int i = static_cast<int>(threadIdx.x) / 32; i < kCandidates;
         i += static_cast<int>(blockDim.x) / 32) {
      const int cuts = count(candidate(i, K::kTokens)), units = cuts / together_ * feature_units_;
      const float cost = cost_of(
          kGradient ? s_.experts * s_.tokens : s_.total_rows, cuts, units,
          kGradient ? ceil_div(s_.total_rows, kTileInner * s_.experts) : ceil_div(s_.inner, kTileInner),
          clusters_, K::kParts, loads_of(K::kParts, size, K::kGathers));
      if (lane_of_warp() == 0) costs[i] = cost;
    }
    __syncthreads();
    int best = 0;
    for (int i = 1; i < kCandidates; ++i)
      if (costs[i] < costs[best]) best = i;
    most_ = candidate(best, K::kTokens);
    units_ = count(most_) / together_ * feature_units_;
  }

  __device__ bool next(Work& work) {
    if (unit_ >= units_) return false;
    find(work);
    unit_ += clusters_;
    return true;
  }

 private:
  __device__ int rows_of(int expert) const {
    if constexpr (kGradient) return expert < s_.experts ? s_.tokens : 0;
    return expert < s_.experts ? s_.offsets[expert + 1] - s_.offsets[expert] : 0;
  }
  /// Tiles of all experts if none has more than `most` rows.
  __device__ int count(int most) const {
    if constexpr (kGradient) return s_.experts * cut_of(s_.tokens, most, together_).tiles;
    int cuts = 0;
    for (int e = lane_of_warp(); e < s_.experts; e += 32) cuts += cut_of(rows_of(e), most, together_).tiles;
    return __reduce_add_sync(0xFFFFFFFFu, cuts);
  }
  /// Units of experts grow with the expert, and so do the units asked for: the search goes on where it was.
  __device__ void find(Work& work) {
    int local;
    if constexpr (kGradient) {
      const int each = cut_of(s_.tokens, most_, together_).tiles / together_ * feature_units_;
      work.expert = unit_ / each;
      local = unit_ - work.expert * each;
    } else {
      int mine, through;
      while (true) {
        mine = through =
            cut_of(rows_of(first_ + lane_of_warp()), most_, together_).tiles / together_ * feature_units_;
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
          const int before = __shfl_up_sync(0xFFFFFFFFu, through, step);
          if (lane_of_warp() >= step) through += before;
        }
        const int all = __shfl_sync(0xFFFFFFFFu, through, 31);
        if (unit_ < base_ + all) break;
        base_ += all;
        first_ += 32;
      }
      const int found = __ffs(static_cast<int>(__ballot_sync(0xFFFFFFFFu, unit_ < base_ + through))) - 1;
      work.expert = first_ + found;
      local = unit_ - base_ - __shfl_sync(0xFFFFFFFFu, through - mine, found);
    }
    work.row = s_.offsets[work.expert];
    work.rows = s_.offsets[work.expert + 1] - work.row;
    const int tokens = kGradient ? s_.tokens : work.rows;
    const Cut cut = cut_of(tokens, most_, together_);
    const Place place = place_of(local, cut.tiles / together_, feature_units_);
    work.token = (place.tokens * together_ + (K::kGathers ? rank_ : 0)) * cut.width;
    work.tokens = max(0, min(cut.width, tokens - work.token));
    work.feature = place.features * unit_features_ + (K::kGathers ? 0 : rank_ * kTileFeatures);
    work.inner = kGradient ? max(1, ceil_div(work.rows, kTileInner)) : ceil_div(s_.inner, kTileInner);
  }

  const Sizes& s_;
  int rank_, together_, unit_features_, feature_units_, clusters_, unit_, most_, units_;
  int first_ = 0, base_ = 0;  ///< 32 experts from here; the units before them
};

}  // namespace moebench::cuda::grouped
