// SPDX-License-Identifier: Apache-2.0
// The epilogue: warps that read epilogue tiles from shared memory, apply the activation or its derivative, and
// store whole rows of 128 bytes. They run asynchronously with their own registers; consumers stall only when all
// epilogue tiles are full. What is stored without a change is stored by TMA; only at ragged ends, where an
// epilogue tile has rows of the next expert, or where each row has a place of its own, the warps store it.
#pragma once

#include "backends/cuda/grouped/accumulator_staging.cuh"
#include "backends/cuda/grouped/tile_scheduler.cuh"
#include "backends/cuda/stages/activation.cuh"

namespace moebench::cuda::grouped {

template <class T, class Config>
class Epilogue {
 public:
  __device__ Epilogue(const TensorMaps& maps, const KernelParams& params,
                      const SharedMemory<Config::kLayout>& shared)
      : maps_(maps), params_(params), shared_(shared) {}

  /// Called by warp `warp` of kEpilogueWarps: every kEpilogueWarps-th epilogue tile of all tiles.
  __device__ void run(int warp) {
    index_ = warp;
    if constexpr (kEpilogue == EpilogueOp::store)
      store_unchanged();
    else
      compute_and_store();
  }

 private:
  using A =
      Act<std::conditional_t<std::is_same_v<T, __half>, Functions<T>, ApproxActivation>, Config::kActivation>;
  static constexpr EpilogueOp kEpilogue = Config::kEpilogue;
  static constexpr int kOperands = Config::kOperands,
                       kTokens = kEpiTileN<kOperands>;  ///< of an epilogue tile
  static constexpr int kInputs = kEpilogue != EpilogueOp::differentiate ? 0
                                 : Config::kGlu                         ? 2
                                                : 1;  ///< columns of pre for a feature
  /// Accesses of 16 bytes that a lane has in flight, every fourth token; as registers allow.
  static constexpr int kBatch = kInputs == 2 && Config::kDscore ? 2 : kInputs > 0 || kOperands == 2 ? 4 : 8;
  using Pre = uint4[kInputs > 0 ? kInputs : 1][kBatch];  ///< what a batch needs of pre
  static constexpr int kBatches = kTokens / 4 / kBatch;
  /// Whether rows may have places of their own (GroupedGemmArgs::out_rows).
  static constexpr bool kScatters = kEpilogue == EpilogueOp::store && !Config::kWgrad;

  /// An epilogue tile, and what a lane computes of it: 8 features of every fourth token.
  struct EpilogueCoord {
    int warpgroup, index;  ///< of the consumer; of the slot in its ring
    unsigned phase;
    int row, feature;  ///< of the lane's first token, in the matrices
    int valid;         ///< tokens
    bool whole;        ///< TMA may store it
  };

  /// The lane's 16 bytes of a row of 128.
  static __device__ int unit() { return lane_of_warp() % 8; }

  /// EpilogueOp::store. The TMA store of one epilogue tile runs while the next is computed; if that is not full
  /// yet, the slot is released first, as the consumers may need it to go on.
  __device__ void store_unchanged() {
    EpilogueCoord now;
    std::uint32_t stored_empty = 0;  // lane 0's: the empty barrier of the tile that TMA reads
    const auto end_store = [&] {
      if (lane_of_warp() != 0 || stored_empty == 0) return;
      tma_store_wait_read<0>();
      mbarrier_arrive(stored_empty);
      stored_empty = 0;
    };
    while (next_coord(now)) {
      const std::uint32_t full = shared_.epi_full(now.warpgroup, now.index),
                          empty = shared_.epi_empty(now.warpgroup, now.index);
      if (now.whole) {
        if (lane_of_warp() == 0) {
          if (!mbarrier_test_wait(full, now.phase)) end_store();
          mbarrier_wait(full, now.phase);
          start_store(now, 0);
          tma_store_commit();
          if (stored_empty != 0) tma_store_wait_read<1>(), mbarrier_arrive(stored_empty);
          stored_empty = empty;
        }
        __syncwarp();
      } else {
        end_store();
        if (kScatters && params_.out_rows)
          store_rows(now, full);
        else
          store_ragged(now, full);
        release(now);
      }
    }
    end_store();
  }

  __device__ void store_ragged(const EpilogueCoord& now, std::uint32_t full) const {
    mbarrier_wait(full, now.phase);
#pragma unroll
    for (int batch = 0; batch < kBatches; ++batch) {
      uint4 sums[kOperands][kBatch];
      read(now, batch, sums);
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
        if (batch * kBatch + i < now.valid)
          *address(params_.out, params_.out_cols, now.row + 4 * (batch * kBatch + i), 0, now.feature) =
              sums[0][i];
    }
  }

  /// Each row to its place; the places are read before the tile is full.
  __device__ void store_rows(const EpilogueCoord& now, std::uint32_t full) const {
    std::byte* place[kBatches][kBatch];
#pragma unroll
    for (int batch = 0; batch < kBatches; ++batch)
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
        if (batch * kBatch + i < now.valid)
          place[batch][i] = params_.out_rows[now.row + 4 * (batch * kBatch + i)];
    mbarrier_wait(full, now.phase);
#pragma unroll
    for (int batch = 0; batch < kBatches; ++batch) {
      uint4 sums[kOperands][kBatch];
      read(now, batch, sums);
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
        if (batch * kBatch + i < now.valid)
          *reinterpret_cast<uint4*>(place[batch][i] + now.feature * sizeof(T)) = sums[0][i];
    }
  }

  /// EpilogueOp::activate and differentiate. What differentiate reads of pre is fetched a batch ahead.
  __device__ void compute_and_store() {
    EpilogueCoord next;
    Pre ahead;
    bool more = next_coord(next);
    if (more) fetch(next, 0, ahead);
    while (more) {
      const EpilogueCoord now = next;
      const bool copied = kEpilogue == EpilogueOp::activate && params_.pre && now.whole;
#pragma unroll
      for (int batch = 0; batch < kBatches; ++batch) {
        Pre pre;
#pragma unroll
        for (int operand = 0; operand < kInputs; ++operand)
#pragma unroll
          for (int i = 0; i < kBatch; ++i) pre[operand][i] = ahead[operand][i];
        if (batch == 0) {
          mbarrier_wait(shared_.epi_full(now.warpgroup, now.index), now.phase);
          if (copied && lane_of_warp() == 0) {
            for (int operand = 0; operand < kOperands; ++operand) start_store(now, operand);
            tma_store_commit();
          }
        }
        uint4 sums[kOperands][kBatch];
        read(now, batch, sums);
        if (batch < kBatches - 1) {
          fetch(now, batch + 1, ahead);
        } else {
          if (!copied) release(now);
          more = next_coord(next);
          if (more) fetch(next, 0, ahead);
        }
        float dots[kBatch] = {};
#pragma unroll
        for (int i = 0; i < kBatch; ++i)
          if (batch * kBatch + i < now.valid)
            finish(now.row + 4 * (batch * kBatch + i), now.feature, copied, sums[0][i],
                   sums[kOperands - 1][i], pre[0][i], pre[kInputs > 1 ? 1 : 0][i], dots[i]);
        if constexpr (Config::kDscore) store_dscore_partials(now, batch, dots);
      }
      if (copied) {
        if (lane_of_warp() == 0) tma_store_wait_read<0>();
        release(now);
      }
    }
  }

  /// This warp's next epilogue tile, or false.
  __device__ bool next_coord(EpilogueCoord& at) {
    while (index_ >= kConsumers * steps_) {
      index_ -= kConsumers * steps_;
      before_ += static_cast<unsigned>(steps_);
      tile_ = read_tile(shared_, tile_slot_);
      tile_slot_.advance();
      if (tile_.k_blocks == 0) return false;
      steps_ = ceil_div(tile_.n_count, kTokens);
    }
    const int step = index_ / kConsumers;
    const unsigned n = before_ + static_cast<unsigned>(step);
    at.warpgroup = index_ % kConsumers;
    at.index = SharedMemory<Config::kLayout>::epi_index(n),
    at.phase = SharedMemory<Config::kLayout>::epi_phase(n);
    const int token = step * kTokens + lane_of_warp() / 8;
    at.feature = tile_.m + 64 * at.warpgroup + 8 * unit();
    at.row = (Config::kWgrad ? tile_.expert * params_.size_n : tile_.row) + tile_.n + token;
    at.valid = at.feature < params_.size_m ? ceil_div(tile_.n_count - token, 4) : 0;
    // TMA clips at the ends of the matrix, with wgrad of each expert's, but not at the ends of a tile.
    const bool ends = Config::kWgrad && tile_.n + tile_.n_count == params_.size_n;
    at.whole = !(kScatters && params_.out_rows) && (ends || tile_.n_count >= (step + 1) * kTokens) &&
               (!Config::kGated || tile_.m + 64 * (at.warpgroup + 1) <= params_.size_m);
    index_ += kEpilogueWarps;
    return true;
  }

  /// Loads this lane's part of pre for a batch; what is not valid stays as it is.
  __device__ void fetch(const EpilogueCoord& at, int batch, Pre& pre) const {
#pragma unroll
    for (int operand = 0; operand < kInputs; ++operand)
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
        if (batch * kBatch + i < at.valid)
          pre[operand][i] =
              *address(params_.pre, params_.pre_cols, at.row + 4 * (batch * kBatch + i), operand, at.feature);
  }

  /// This warp has read the epilogue tile.
  __device__ void release(const EpilogueCoord& at) const {
    __syncwarp();
    if (lane_of_warp() == 0) mbarrier_arrive(shared_.epi_empty(at.warpgroup, at.index));
  }

  /// This lane's accumulators of an epilogue tile.
  __device__ void read(const EpilogueCoord& at, int batch, uint4 (&sums)[kOperands][kBatch]) const {
#pragma unroll
    for (int operand = 0; operand < kOperands; ++operand)
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int row = operand * kTokens + 4 * (batch * kBatch + i) + lane_of_warp() / 8;
        sums[operand][i] = load_shared(shared_.epi_tile(at.warpgroup, at.index) + row * kRowBytes +
                                       ((unit() ^ (row & 7)) << 4));
      }
  }

  /// Starts the TMA store of one operand of an epilogue tile; called by lane 0.
  __device__ void start_store(const EpilogueCoord& at, int operand) const {
    const bool stacked = Config::kWgrad;
    tma_store(&maps_.stored, shared_.epi_tile(at.warpgroup, at.index) + operand * kTokens * kRowBytes,
              at.feature + operand * params_.size_m,
              stacked ? at.row - tile_.expert * params_.size_n : at.row, stacked ? tile_.expert : 0);
  }

  /// 8 features of one row. `copied`: TMA stores pre. If kDscore, adds accumulators · act(pre) to `dot`.
  __device__ void finish(int row, int feature, bool copied, const uint4& sums, const uint4& up,
                         const uint4& pre, const uint4& pre_up, float& dot) const {
    if constexpr (kEpilogue == EpilogueOp::activate) {
      *address(params_.out, params_.out_cols, row, 0, feature) = activated(sums, up);
      if (copied || !params_.pre) return;
      *address(params_.pre, params_.pre_cols, row, 0, feature) = sums;
      if constexpr (Config::kGated) *address(params_.pre, params_.pre_cols, row, 1, feature) = up;
    } else {
      uint4 out[2];
      differentiated(sums, pre, pre_up, out, dot);
#pragma unroll
      for (int operand = 0; operand < kInputs; ++operand)
        *address(params_.out, params_.out_cols, row, operand, feature) = out[operand];
    }
  }

  /// Stores the sum of the eight lanes of each row: lanes exchange halves of their rows, so that each adds up
  /// fewer of them with every step. Called by all lanes.
  __device__ void store_dscore_partials(const EpilogueCoord& at, int batch, float (&dots)[kBatch]) const {
    int bit = 4;
#pragma unroll
    for (int half = kBatch / 2; half > 0; half /= 2, bit /= 2) {
      const bool upper = unit() & bit;
#pragma unroll
      for (int i = 0; i < half; ++i)
        dots[i] = (upper ? dots[half + i] : dots[i]) +
                  __shfl_xor_sync(0xFFFFFFFFu, upper ? dots[i] : dots[half + i], bit);
    }
#pragma unroll
    for (; bit > 0; bit /= 2) dots[0] += __shfl_xor_sync(0xFFFFFFFFu, dots[0], bit);
    constexpr int kLanes = 8 / kBatch;                                          // that have the same sum
    const int valid = __shfl_sync(0xFFFFFFFFu, at.valid, lane_of_warp() & ~7);  // of the row's first features
    const int token = batch * kBatch + unit() / kLanes;
    if (unit() % kLanes == 0 && token < valid)
      params_.dscore_partials[static_cast<std::int64_t>(at.row + 4 * token) *
                                  dscore_partials_per_row(params_.size_m) +
                              at.feature / 64] = dots[0];
  }

  /// Row `row` of matrix [rows, cols], which is [gate | up] where it has two operands.
  __device__ uint4* address(void* matrix, int cols, int row, int operand, int feature) const {
    return reinterpret_cast<uint4*>(static_cast<T*>(matrix) + static_cast<std::int64_t>(row) * cols +
                                    operand * params_.size_m + feature);
  }

  /// act of 8 features, from pre, or from gate and up.
  static __device__ uint4 activated(const uint4& first, const uint4& second) {
    const unsigned a[4] = {first.x, first.y, first.z, first.w},
                   b[4] = {second.x, second.y, second.z, second.w};
    unsigned act[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 gate = unpacked<T>(a[i]), up = unpacked<T>(b[i]);
      const float low[2] = {gate.x, up.x}, high[2] = {gate.y, up.y};
      act[i] = packed<T>(A::forward(low), A::forward(high));
    }
    return {act[0], act[1], act[2], act[3]};
  }

  /// dpre of 8 features, [dgate, dup] or the first alone, from dact and pre; adds dact · act to `dot` if kDscore.
  static __device__ void differentiated(const uint4& dact, const uint4& first, const uint4& second,
                                        uint4 (&out)[2], float& dot) {
    const unsigned d[4] = {dact.x, dact.y, dact.z, dact.w}, a[4] = {first.x, first.y, first.z, first.w},
                   b[4] = {second.x, second.y, second.z, second.w};
    unsigned dpre[2][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 gradient = unpacked<T>(d[i]), gate = unpacked<T>(a[i]), up = unpacked<T>(b[i]);
      const float low[2] = {gate.x, up.x}, high[2] = {gate.y, up.y};
      float of_low[2] = {}, of_high[2] = {};
      A::backward(gradient.x, low, of_low);
      A::backward(gradient.y, high, of_high);
      if constexpr (Config::kDscore)
        dot += A::product(gradient.x, low, of_low) + A::product(gradient.y, high, of_high);
      dpre[0][i] = packed<T>(of_low[0], of_high[0]);
      dpre[1][i] = packed<T>(of_low[1], of_high[1]);
    }
    for (int operand = 0; operand < 2; ++operand)
      out[operand] = {dpre[operand][0], dpre[operand][1], dpre[operand][2], dpre[operand][3]};
  }

  const TensorMaps& maps_;
  const KernelParams& params_;
  SharedMemory<Config::kLayout> shared_;
  Tile tile_{};
  PipelineState<kTileSlots> tile_slot_;  ///< the next tile
  int index_ = 0;                        ///< of this warp's next epilogue tile among those of the tile
  int steps_ = 0;                        ///< epilogue tiles of a warpgroup that the tile fills
  unsigned before_ = 0;                  ///< epilogue tiles that a warpgroup has filled before
};

}  // namespace moebench::cuda::grouped
