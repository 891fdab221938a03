// SPDX-License-Identifier: Apache-2.0
// Idea: one persistent kernel for all experts. A producer warp fetches boxes of both operands with the copy engine
// into a ring of four stages; two warpgroups each multiply 64 rows of the 128 x 256 tile by wgmma. They share
// the ring but nothing else, so one stores its tile while the other still multiplies. A tile with no more than 64
// rows left leaves the second warpgroup idle and the tensor cores to the first: rows cost in steps of 64.
// What follows the product (bias, activation and its derivative) is done on the accumulators.
// Layout: operands as they are, no transposition or padding in memory: wgmma reads boxes of 64 x 64 in either
// order. Rows of different experts need no alignment: what a box holds of the next expert's rows is not
// stored or, where rows are summed (gradient), zeroed in shared memory first.
// Moves: tile by tile 48 KB per 4.2 MFLOP of a stage, most of it from L2; each operand once from memory
// if the band of tiles under way fits there. Floor: FLOPs over the tensor cores' rate.
#include <algorithm>

#include "backends/cuda/activation.cuh"
#include "backends/cuda/grouped/hopper.cuh"
#include "backends/cuda/grouped/product.h"
#include "backends/cuda/grouped/schedule.h"
#include "backends/cuda/grouped/tensor_map.h"
#include "backends/cuda/storage.cuh"

namespace moebench::cuda::grouped {
namespace {

constexpr int kStages = 4, kConsumers = 2, kGroupThreads = 128, kAllThreads = (kConsumers + 1) * kGroupThreads;
constexpr int kBoxBytes = 64 * 64 * 2, kLeftBoxes = kTileM / 64, kRightBoxes = kTileN / 64;
constexpr int kStageBytes = (kLeftBoxes + kRightBoxes) * kBoxBytes;
constexpr int kPieceCols = 128, kPieceBytes = 16 * kPieceCols * 2;  // what a warp stores at a time
constexpr int kPieces = kConsumers * kGroupThreads / 32;
constexpr int kSharedBytes = kStages * kStageBytes + kPieces * kPieceBytes + 2 * kStages * 8 + 1024;  // 1024 to align
constexpr int kGroupParts = 64 * kTileN;  ///< fp32 numbers of one warpgroup's part of a tile

/// A product as the kernel sees it. n: columns of a tile's range (for SwiGLU those of the gate).
struct Sizes {
  const std::int32_t* offsets;
  int experts, m, n, k;
  int out_cols, pre_cols;
  void *out, *pre;
  const void* bias;  ///< [experts, pre_cols or out_cols]
  float* parts;      ///< [blocks, kConsumers, kGroupParts]
  unsigned* ready;   ///< [blocks, kConsumers]: 1 while a part waits to be added
};

/// A tile, or inner blocks [begin, end) of one.
struct Work {
  int expert, row, rows;  ///< rows of the expert: where they begin, how many there are
  int m, n;               ///< the tile's corner
  int begin, end, inner;
  int split_at;           ///< where the tile's inner blocks begin among those of the split tiles; -1 if whole
};

/// Deals this block its work, in order; every warp that needs it walks it for itself, all lanes together.
template <Form kForm, int kCols>
class Walker {
 public:
  __device__ explicit Walker(const Sizes& sizes) : s_(sizes), n_tiles_(ceil_div(sizes.n, kCols)) {
    int tiles = 0;
    if constexpr (kForm == Form::gradient) {
      tiles = s_.experts * tiles_of_gradient();
    } else {
      for (int first = 0; first < s_.experts; first += 32) tiles += tiles_of(first + lane_of_warp());
      tiles = __reduce_add_sync(0xFFFFFFFFu, tiles);
    }
    deal_ = deal_of(tiles, ceil_div(s_.k, kTileK), static_cast<int>(gridDim.x), kForm != Form::gradient);
    tile_ = static_cast<int>(blockIdx.x);
    at_ = deal_.share(static_cast<int>(blockIdx.x));
    end_ = static_cast<int>(blockIdx.x) < deal_.split_blocks ? deal_.share(static_cast<int>(blockIdx.x) + 1) : at_;
  }

  __device__ bool next(Work& work) {
    if (tile_ < deal_.whole) {
      find(tile_, work);
      work.begin = 0, work.end = work.inner, work.split_at = -1;
      tile_ += static_cast<int>(gridDim.x);
      return true;
    }
    if (at_ >= end_) return false;
    const int index = at_ / deal_.inner;
    find(deal_.whole + index, work);
    work.split_at = index * deal_.inner;
    work.begin = at_ - work.split_at;
    work.end = min(work.inner, end_ - work.split_at);
    at_ = work.split_at + work.end;
    return true;
  }
  __device__ const Deal& deal() const { return deal_; }

 private:
  __device__ int tiles_of_gradient() const { return ceil_div(s_.m, kTileM) * n_tiles_; }
  __device__ int tiles_of(int expert) const {
    return expert < s_.experts ? ceil_div(s_.offsets[expert + 1] - s_.offsets[expert], kTileM) * n_tiles_ : 0;
  }
  /// Tiles of experts grow with the expert, and so do the tiles asked for: the search goes on where it was.
  __device__ void find(int tile, Work& work) {
    int local;
    if constexpr (kForm == Form::gradient) {
      work.expert = tile / tiles_of_gradient();
      local = tile - work.expert * tiles_of_gradient();
    } else {
      int mine, through;
      while (true) {
        mine = through = tiles_of(first_ + lane_of_warp());
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
          const int before = __shfl_up_sync(0xFFFFFFFFu, through, step);
          if (lane_of_warp() >= step) through += before;
        }
        const int all = __shfl_sync(0xFFFFFFFFu, through, 31);
        if (tile < base_ + all) break;
        base_ += all;
        first_ += 32;
      }
      const int found = __ffs(static_cast<int>(__ballot_sync(0xFFFFFFFFu, tile < base_ + through))) - 1;
      work.expert = first_ + found;
      local = tile - base_ - __shfl_sync(0xFFFFFFFFu, through - mine, found);
    }
    work.row = s_.offsets[work.expert];
    work.rows = s_.offsets[work.expert + 1] - work.row;
    const Place place = place_of(local, ceil_div(kForm == Form::gradient ? s_.m : work.rows, kTileM), n_tiles_);
    work.m = place.m * kTileM, work.n = place.n * kCols;
    work.inner = kForm == Form::gradient ? max(1, ceil_div(work.rows, kTileK)) : deal_.inner;
  }

  const Sizes& s_;
  int n_tiles_, tile_, at_, end_;
  int first_ = 0, base_ = 0;  ///< 32 experts from here; the tiles before them
  Deal deal_;
};

/// A place in the ring and the parity of its phase.
struct Turn {
  int stage = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

struct Shared {
  std::uint32_t stages, pieces, full, empty;
  __device__ std::uint32_t left(int stage) const { return stages + stage * kStageBytes; }
  __device__ std::uint32_t right(int stage) const { return left(stage) + kLeftBoxes * kBoxBytes; }
  __device__ std::uint32_t full_of(int stage) const { return full + 8 * stage; }
  __device__ std::uint32_t empty_of(int stage) const { return empty + 8 * stage; }
};

template <Form kForm, bool kGated, class Walk>
__device__ void produce(const CUtensorMap& left, const CUtensorMap& right, const Sizes& s, const Shared& shared, Walk walk) {
  Turn turn;
  Work w;
  while (walk.next(w)) {
    const int boxes = kForm == Form::gradient || w.rows - w.m > 64 ? kLeftBoxes : 1;
    for (int block = w.begin; block < w.end; ++block) {
      if (lane_of_warp() == 0) {
        barrier_wait(shared.empty_of(turn.stage), turn.parity ^ 1);
        const std::uint32_t full = shared.full_of(turn.stage);
        barrier_expect(full, static_cast<unsigned>((boxes + kRightBoxes) * kBoxBytes));
        const int k = block * kTileK;
        for (int i = 0; i < boxes; ++i) {
          const std::uint32_t to = shared.left(turn.stage) + i * kBoxBytes;
          if constexpr (kForm == Form::gradient)
            load_box(to, &left, full, w.m + 64 * i, w.row + k, 0);
          else
            load_box(to, &left, full, k, w.row + w.m + 64 * i, 0);
        }
#pragma unroll
        for (int i = 0; i < kRightBoxes; ++i) {
          const std::uint32_t to = shared.right(turn.stage) + i * kBoxBytes;
          const int n = kGated && i >= kRightBoxes / 2 ? s.n + w.n + 64 * (i - kRightBoxes / 2) : w.n + 64 * i;
          if constexpr (kForm == Form::gradient)
            load_box(to, &right, full, n, w.row + k, 0);
          else if constexpr (kForm == Form::transposed)
            load_box(to, &right, full, k, n, w.expert);
          else
            load_box(to, &right, full, n, k, w.expert);
        }
      }
      turn.advance();
    }
  }
}

/// Zeroes rows [valid, 64) of a box: they are the next expert's. By one warpgroup.
__device__ inline void clear_rows(std::uint32_t box, int valid, int group) {
  const int thread = static_cast<int>(threadIdx.x) % kGroupThreads, row = thread / 2;
  if (row >= valid) {
    const std::uint32_t at = box + row * 128 + thread % 2 * 64;
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(at + 16 * i), "r"(0) : "memory");
  }
  fence_async();
  sync_threads(1 + group, kGroupThreads);
}

/// Sums inner blocks [begin, end) of the work into d.
template <class T, Form kForm>
__device__ void multiply(float (&d)[128], const Work& w, const Shared& shared, Turn& turn, int group) {
  constexpr Major kA = kForm == Form::gradient ? Major::outer : Major::inner;
  constexpr Major kB = kForm == Form::transposed ? Major::inner : Major::outer;
  std::uint32_t before = 0;
  for (int block = w.begin; block < w.end; ++block) {
    barrier_wait(shared.full_of(turn.stage), turn.parity);
    const std::uint32_t left = shared.left(turn.stage) + group * kBoxBytes;
    if constexpr (kForm == Form::gradient)
      if (w.rows - block * kTileK < kTileK) clear_rows(left, w.rows - block * kTileK, group);
    std::uint64_t a = descriptor(left), b = descriptor(shared.right(turn.stage));
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kTileK / 16; ++k) {
      wgmma<T, kA, kB>(d, a, b, k > 0 || block > w.begin);
      a += kStep<kA>, b += kStep<kB>;
    }
    wgmma_commit();
    wgmma_wait<1>();
    if (block > w.begin && lane_of_warp() == 0) barrier_arrive(before);  // the stage before is read
    before = shared.empty_of(turn.stage);
    turn.advance();
  }
  wgmma_wait<0>();
  if (lane_of_warp() == 0) barrier_arrive(before);
}

/// Lets the stages of the work pass: this warpgroup has no rows of the tile.
__device__ inline void skip(const Work& w, const Shared& shared, Turn& turn) {
  for (int block = w.begin; block < w.end; ++block) {
    barrier_wait(shared.full_of(turn.stage), turn.parity);
    if (lane_of_warp() == 0) barrier_arrive(shared.empty_of(turn.stage));
    turn.advance();
  }
}

/// Leaves this warpgroup's part where its tile's first block will look for it.
__device__ inline void leave_part(const float (&d)[128], const Sizes& s, int group) {
  const int slot = static_cast<int>(blockIdx.x) * kConsumers + group, thread = static_cast<int>(threadIdx.x) % kGroupThreads;
  float4* to = reinterpret_cast<float4*>(s.parts + static_cast<std::int64_t>(slot) * kGroupParts) + thread;
#pragma unroll
  for (int i = 0; i < 32; ++i) __stcg(to + i * kGroupThreads, make_float4(d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]));
  __threadfence();
  sync_threads(1 + group, kGroupThreads);
  if (thread == 0) asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(s.ready + slot), "r"(1) : "memory");
}

/// Adds what later blocks summed of the same tile, in their order.
__device__ inline void add_parts(float (&d)[128], const Work& w, const Sizes& s, const Deal& deal, int group) {
  const int thread = static_cast<int>(threadIdx.x) % kGroupThreads, stop = w.split_at + w.inner;
  for (int block = static_cast<int>(blockIdx.x) + 1, at = w.split_at + w.end; at < stop; at = deal.share(++block)) {
    const int slot = block * kConsumers + group;
    if (thread == 0) {
      unsigned ready;
      do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(ready) : "l"(s.ready + slot) : "memory");
      while (!ready);
    }
    sync_threads(1 + group, kGroupThreads);
    const float4* from = reinterpret_cast<const float4*>(s.parts + static_cast<std::int64_t>(slot) * kGroupParts) + thread;
#pragma unroll
    for (int i = 0; i < 32; ++i) {
      const float4 part = __ldcg(from + i * kGroupThreads);
      d[4 * i] += part.x, d[4 * i + 1] += part.y, d[4 * i + 2] += part.z, d[4 * i + 3] += part.w;
    }
    sync_threads(1 + group, kGroupThreads);  // all have read it
    if (thread == 0) s.ready[slot] = 0;      // for the next launch
  }
}

/// A warp's 16 rows x 128 columns on their way between accumulators and memory, through shared memory so that
/// memory sees 256 bytes of a row at a time. 16-byte units are swizzled against bank conflicts.
template <class T>
struct Piece {
  std::uint32_t at;   ///< this warp's space
  int row, rows;      ///< where its rows begin in memory, and how many of the 16 there are

  static __device__ int unit_at(int row, int unit) { return row * 256 + ((unit ^ (row & 7)) << 4); }
  __device__ std::uint32_t pair(int j) const {
    const int lane = lane_of_warp(), r = (lane & 7) + ((lane >> 3) & 1) * 8;
    return at + unit_at(r, 2 * j + (lane >> 4));
  }
  /// Columns [16j, 16j + 16): words of (rows 0-7, rows 8-15) of the first 8 columns, then of the other 8.
  __device__ void put(int j, const unsigned (&words)[4]) const { store_matrices(pair(j), words); }
  __device__ void get(int j, unsigned (&words)[4]) const { load_matrices(pair(j), words); }

  /// Writes the piece to columns [col, col + 128) below `cols` of a matrix with rows of `stride` elements.
  __device__ void write(void* matrix, int stride, int col, int cols) const {
    __syncwarp();
    const int unit = lane_of_warp() % 16, c = col + unit * 8;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int r = lane_of_warp() / 16 + 2 * i;
      uint4 words;
      asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
                   : "r"(at + unit_at(r, unit)));
      if (r < rows && c < cols)
        *reinterpret_cast<uint4*>(static_cast<T*>(matrix) + static_cast<std::int64_t>(row + r) * stride + c) = words;
    }
    __syncwarp();
  }
  __device__ void fetch(uint4 (&held)[8], const void* matrix, int stride, int col, int cols) const {
    const int unit = lane_of_warp() % 16, c = col + unit * 8;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int r = lane_of_warp() / 16 + 2 * i;
      held[i] = {};
      if (r < rows && c < cols)
        held[i] = *reinterpret_cast<const uint4*>(static_cast<const T*>(matrix) + static_cast<std::int64_t>(row + r) * stride + c);
    }
  }
  __device__ void settle(const uint4 (&held)[8]) const {
    const int unit = lane_of_warp() % 16;
#pragma unroll
    for (int i = 0; i < 8; ++i)
      asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(at + unit_at(lane_of_warp() / 16 + 2 * i, unit)), "r"(held[i].x),
                   "r"(held[i].y), "r"(held[i].z), "r"(held[i].w)
                   : "memory");
    __syncwarp();
  }
};

/// Accumulators of columns [16j, 16j + 16) of a half (128 columns) of the tile, in the order of put()'s words.
__device__ inline void take(const float (&d)[128], int half, int j, float (&v)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) v[i] = d[64 * half + 8 * j + i];
}
template <class T>
__device__ inline void pack8(const float (&v)[8], unsigned (&words)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) words[i] = packed<T>(v[2 * i], v[2 * i + 1]);
}
template <class T>
__device__ inline void unpack8(const unsigned (&words)[4], float (&v)[8]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 two = unpacked<T>(words[i]);
    v[2 * i] = two.x, v[2 * i + 1] = two.y;
  }
}

/// d += bias at the tile's columns. kGated: the second half is that of `up`, s.n columns on.
template <class T, bool kGated>
__device__ void add_bias(float (&d)[128], const Sizes& s, const Work& w) {
  if (!s.bias) return;
  const T* bias = static_cast<const T*>(s.bias) + static_cast<std::int64_t>(w.expert) * (kGated ? 2 * s.n : s.n);
#pragma unroll
  for (int j = 0; j < 32; ++j) {
    const int within = kGated ? w.n + 8 * (j % 16) + 2 * (lane_of_warp() % 4) : w.n + 8 * j + 2 * (lane_of_warp() % 4);
    if (within >= s.n) continue;
    const int column = kGated && j >= 16 ? s.n + within : within;
    const float2 two = unpacked<T>(*reinterpret_cast<const unsigned*>(bias + column));
    d[4 * j] += two.x, d[4 * j + 1] += two.y, d[4 * j + 2] += two.x, d[4 * j + 3] += two.y;
  }
}

template <class T>
__device__ void store_half(const float (&d)[128], int half, const Piece<T>& piece, void* to, int stride, int col, int cols) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    float v[8];
    unsigned words[4];
    take(d, half, j, v);
    pack8<T>(v, words);
    piece.put(j, words);
  }
  piece.write(to, stride, col, cols);
}

/// Stores pre and act. GELU: both halves of the tile are columns of pre; SwiGLU: gate and up of the same columns.
template <class T, Activation kActivation>
__device__ void store_activated(const float (&d)[128], const Sizes& s, const Work& w, const Piece<T>& piece) {
  using A = Act<T, kActivation>;
  constexpr bool kGated = A::kInputs == 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int col = kGated ? w.n : w.n + 128 * half;
    store_half(d, half, piece, static_cast<T*>(s.pre) + (kGated ? half * s.n : 0), s.pre_cols, col, s.n);
    if (kGated && half == 0) continue;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      float v[8], up[8];
      unsigned words[4];
      take(d, kGated ? 0 : half, j, v);
      if constexpr (kGated) take(d, 1, j, up);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float in[2] = {v[i], kGated ? up[i] : 0};
        v[i] = A::forward(in);
      }
      pack8<T>(v, words);
      piece.put(j, words);
    }
    piece.write(s.out, s.out_cols, col, s.n);
  }
}

/// d is the gradient of act: stores that of pre.
template <class T, Activation kActivation>
__device__ void store_differentiated(float (&d)[128], const Sizes& s, const Work& w, const Piece<T>& piece) {
  using A = Act<T, kActivation>;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int col = w.n + 128 * half;
    uint4 held[A::kInputs][8];
    unsigned pre[A::kInputs][8][4];
    for (int i = 0; i < A::kInputs; ++i) piece.fetch(held[i], static_cast<const T*>(s.pre) + i * s.n, s.pre_cols, col, s.n);
#pragma unroll
    for (int i = 0; i < A::kInputs; ++i) {
      piece.settle(held[i]);
#pragma unroll
      for (int j = 0; j < 8; ++j) piece.get(j, pre[i][j]);
      __syncwarp();
    }
    unsigned other[8][4];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      float v[8], in[2][8] = {}, out[2][8];
      unsigned words[4];
      take(d, half, j, v);
      for (int i = 0; i < A::kInputs; ++i) unpack8<T>(pre[i][j], in[i]);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float inputs[2] = {in[0][i], in[1][i]};
        float gradients[2];
        A::backward(v[i], inputs, gradients);
        out[0][i] = gradients[0], out[1][i] = A::kInputs == 2 ? gradients[1] : 0;
      }
      pack8<T>(out[0], words);
      piece.put(j, words);
      if constexpr (A::kInputs == 2) pack8<T>(out[1], other[j]);
    }
    piece.write(s.out, s.out_cols, col, s.n);
    if constexpr (A::kInputs == 2) {
#pragma unroll
      for (int j = 0; j < 8; ++j) piece.put(j, other[j]);
      piece.write(static_cast<T*>(s.out) + s.n, s.out_cols, col, s.n);
    }
  }
}

template <class T, Form kForm, After kAfter, Activation kActivation, class Walk>
__device__ void consume(const Sizes& s, const Shared& shared, Walk walk) {
  constexpr bool kGated = kAfter == After::activate && kActivation == Activation::swiglu;
  const int warp = static_cast<int>(threadIdx.x) / 32, group = warp / 4;
  Piece<T> piece{shared.pieces + warp * kPieceBytes, 0, 0};
  Turn turn;
  Work w;
  float d[128];
  while (walk.next(w)) {
    const int rows = kForm == Form::gradient ? s.m : w.rows, row = w.m + 64 * group + 16 * (warp % 4);
    if (w.m + 64 * group >= rows) {
      skip(w, shared, turn);
      continue;
    }
    multiply<T, kForm>(d, w, shared, turn, group);
    if constexpr (kForm != Form::gradient) {
      if (w.begin > 0) {
        leave_part(d, s, group);
        continue;
      }
      if (w.end < w.inner) add_parts(d, w, s, walk.deal(), group);
    }
    piece.row = (kForm == Form::gradient ? w.expert * s.m : w.row) + row;
    piece.rows = rows - row;
    if constexpr (kAfter != After::differentiate) add_bias<T, kGated>(d, s, w);
    if constexpr (kAfter == After::activate) {
      store_activated<T, kActivation>(d, s, w, piece);
    } else if constexpr (kAfter == After::differentiate) {
      store_differentiated<T, kActivation>(d, s, w, piece);
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) store_half(d, half, piece, s.out, s.out_cols, w.n + 128 * half, s.n);
    }
  }
}

template <class T, Form kForm, After kAfter, Activation kActivation>
__global__ void __launch_bounds__(kAllThreads, 1)
    grouped_kernel(const __grid_constant__ CUtensorMap left, const __grid_constant__ CUtensorMap right,
                   const __grid_constant__ Sizes s) {
  constexpr bool kGated = kAfter == After::activate && kActivation == Activation::swiglu;
  extern __shared__ char raw[];
  Shared shared;
  shared.stages = (shared_address(raw) + 1023) & ~1023u;
  shared.pieces = shared.stages + kStages * kStageBytes;
  shared.full = shared.pieces + kPieces * kPieceBytes;
  shared.empty = shared.full + 8 * kStages;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      barrier_init(shared.full_of(i), 1);
      barrier_init(shared.empty_of(i), kConsumers * kGroupThreads / 32);
    }
    barrier_init_fence();
    prefetch_map(&left);
    prefetch_map(&right);
  }
  __syncthreads();
  const Walker<kForm, kGated ? kTileN / 2 : kTileN> walk(s);
  if (threadIdx.x >= kConsumers * kGroupThreads) {
    give_registers<40>();
    if (threadIdx.x < kConsumers * kGroupThreads + 32) produce<kForm, kGated>(left, right, s, shared, walk);
  } else {
    take_registers<232>();
    consume<T, kForm, kAfter, kActivation>(s, shared, walk);
  }
}

class Sm90Multiplier final : public Multiplier {
 public:
  explicit Sm90Multiplier(Gpu& gpu)
      : gpu_(gpu),
        blocks_(multiprocessors(gpu.device)),
        parts_(gpu.memory, static_cast<std::size_t>(blocks_ * kConsumers * kGroupParts) * sizeof(float)),
        ready_(gpu.memory, static_cast<std::size_t>(blocks_ * kConsumers) * sizeof(unsigned)) {
    MB_CUDA(cudaMemsetAsync(ready_.data(), 0, ready_.bytes(), gpu.stream.get()));
  }

  void run(const Product& p) override {
    if (p.out.size() == 0) return;
    if (p.left.rows == 0) {
      if (p.form == Form::gradient) MB_CUDA(cudaMemsetAsync(p.out.data, 0, p.out.bytes(), gpu_.stream.get()));
      return;
    }
    if (p.left.dtype == DType::fp16)
      run_as<__half>(p);
    else
      run_as<__nv_bfloat16>(p);
  }

 private:
  static int multiprocessors(int device) {
    int count = 0;
    MB_CUDA(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
    return count;
  }

  template <class T>
  void run_as(const Product& p) {
    switch (p.form) {
      case Form::gradient: return launch<T, Form::gradient, After::store, Activation::gelu>(p);
      case Form::transposed:
        if (p.after == After::store) return launch<T, Form::transposed, After::store, Activation::gelu>(p);
        MB_ASSERT(p.after == After::differentiate);
        if (p.activation == Activation::gelu) return launch<T, Form::transposed, After::differentiate, Activation::gelu>(p);
        return launch<T, Form::transposed, After::differentiate, Activation::swiglu>(p);
      case Form::forward:
        if (p.after == After::store) return launch<T, Form::forward, After::store, Activation::gelu>(p);
        MB_ASSERT(p.after == After::activate);
        if (p.activation == Activation::gelu) return launch<T, Form::forward, After::activate, Activation::gelu>(p);
        return launch<T, Form::forward, After::activate, Activation::swiglu>(p);
    }
  }

  template <class T, Form kForm, After kAfter, Activation kActivation>
  void launch(const Product& p) {
    auto* const kernel = grouped_kernel<T, kForm, kAfter, kActivation>;
    constexpr bool kGated = kAfter == After::activate && kActivation == Activation::swiglu;
    const std::int64_t experts = p.experts, n = kForm == Form::transposed ? p.right.rows / experts : p.right.cols;
    const Sizes sizes{.offsets = p.offsets,
                      .experts = static_cast<int>(experts),
                      .m = static_cast<int>(kForm == Form::gradient ? p.left.cols : 0),
                      .n = static_cast<int>(kGated ? n / 2 : n),
                      .k = static_cast<int>(kForm == Form::gradient ? kTileK : p.left.cols),
                      .out_cols = static_cast<int>(p.out.cols),
                      .pre_cols = static_cast<int>(p.pre.cols),
                      .out = p.out.data,
                      .pre = p.pre.data,
                      .bias = p.bias.data,
                      .parts = parts_.as<float>(),
                      .ready = ready_.as<unsigned>()};
    const CUtensorMap left = map_of(p.left, 1), right = map_of(p.right, kForm == Form::gradient ? 1 : experts);
    MB_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
    kernel<<<static_cast<unsigned>(blocks_), kAllThreads, kSharedBytes, gpu_.stream.get()>>>(left, right, sizes);
    check_launch("grouped_kernel");
  }

  Gpu& gpu_;
  int blocks_;
  Buffer parts_, ready_;
};

}  // namespace

bool sm90_can(const Gpu& gpu, std::int64_t hidden, std::int64_t ffn) {
  int major = 0, minor = 0;
  MB_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, gpu.device));
  MB_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, gpu.device));
  return major == 9 && minor == 0 && hidden % 8 == 0 && ffn % 8 == 0;
}

std::unique_ptr<Multiplier> make_sm90_multiplier(Gpu& gpu) { return std::make_unique<Sm90Multiplier>(gpu); }

}  // namespace moebench::cuda::grouped
