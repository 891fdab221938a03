// SPDX-License-Identifier: Apache-2.0
// Grouped GEMM in 16-bit formats on any GPU from Ampere on. Idea: each block computes one tile of 128 x 128 of one
// expert's product (fixed_tiles.cuh), by mma.sync; rows are M, features are N. Eight warps multiply 32 x 64 each; the
// operands pass through a ring of three stages of 32 along K, filled by cp.async.
// Layout: operands as they are. A stage holds a tile of each in the order it has in memory, in units of 16 bytes that
// are permuted within their rows so that eight lanes meet no bank twice; ldmatrix transposes MN-major tiles. What
// lies outside of the expert is zero in shared memory. Rows whose width is not a multiple of 8 are read by elements.
// Moves: per stage 16 KB from L2 for 2·128·128·32 operations; each operand once from memory if the band of tiles
// under way fits into L2. Floor: FLOPs over the tensor cores' rate.
#include "backends/cuda/grouped/fixed_tiles.cuh"
#include "backends/cuda/grouped/variant.cuh"
#include "backends/cuda/ptx/ampere.cuh"
#include "backends/cuda/stages/activation.cuh"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda::grouped {
namespace {

using namespace ptx;

constexpr int kStageK = 32, kStages = 3;
constexpr int kTileUnits = kTileSide * kStageK / 8, kSharedBytes = kStages * 2 * kTileUnits * 16;
static_assert(kSharedBytes <= 48 * 1024, "the shared memory of a block without an attribute");

/// Where unit `unit` (16 bytes) of a row lies in a tile, of rows of kStageK (K-major) or kTileSide (MN-major). The
/// same unit of eight rows falls into different eighths of the banks.
template <Major kMajor>
__device__ int place_in_tile(int row, int unit) {
  if constexpr (kMajor == Major::k) return row * (kStageK / 8) + (unit ^ (row / 2 % 4));
  return row * (kTileSide / 8) + (unit ^ (row % 8));
}

/// One operand of an expert's product in memory.
template <class T, int N, Major kMajor, int kOperands = 1>
struct Operand {
  const T* from;
  int stride;  ///< of rows, in elements
  int mn, k;   ///< sizes; with two operands the second begins `mn` columns behind the first

  /// Begins to fill a tile with all that lies from [first_mn, first_k] on. By all threads of the block.
  __device__ __forceinline__ void load(uint4* tile, int first_mn, int first_k) const {
    constexpr int kUnits = (kMajor == Major::k ? kStageK : kTileSide) / 8,
                  kOperandSide = kTileSide / kOperands;
    int thread = static_cast<int>(threadIdx.x);
    asm volatile(
        ""
        : "+r"(thread));  // addresses are worked out again for each tile: the sums need the registers
#pragma unroll
    for (int i = 0; i < kTileUnits / kThreads; ++i) {
      const int index = thread + i * kThreads, row = index / kUnits, col = index % kUnits * 8;
      std::int64_t at;
      int valid;  // elements from here on in this row, none if below 1
      if constexpr (kMajor == Major::k) {
        at = std::int64_t{first_mn + row} * stride + first_k + col;
        valid = first_mn + row < mn ? k - first_k - col : 0;
      } else {
        const int side = first_mn + col % kOperandSide;
        at = std::int64_t{first_k + row} * stride + col / kOperandSide * mn + side;
        valid = first_k + row < k ? mn - side : 0;
      }
      uint4* const to = tile + place_in_tile<kMajor>(row, col / 8);
      if constexpr (N > 1)
        cp_async(to, from + (valid > 0 ? at : 0), valid > 0 ? 16 : 0);
      else
        *to = load_elements(from + at, valid);
    }
  }

 private:
  static __device__ uint4 load_elements(const T* elements, int valid) {
    const auto* const bits = reinterpret_cast<const std::uint16_t*>(elements);
    unsigned words[4] = {};
#pragma unroll
    for (int n = 0; n < 8; ++n)
      if (n < valid) words[n / 2] |= static_cast<unsigned>(bits[n]) << (n % 2 * 16);
    return {words[0], words[1], words[2], words[3]};
  }
};

/// 16 along M or N by 16 along K: words 0 and 1 are the first 8 of K of the first and second 8 rows, words 2 and 3
/// the second. As `a` of mma_m16n8k16; words 0 and 2, and 1 and 3, as `b`.
template <Major kMajor>
__device__ __forceinline__ void fragment(const uint4* tile, int mn, int k, unsigned (&words)[4]) {
  const int lane = lane_of_warp(), row = lane % 8, second = lane / 8 % 2, deeper = lane / 16;
  if constexpr (kMajor == Major::k)
    ldmatrix_x4<false>(tile + place_in_tile<kMajor>(mn + 8 * second + row, k / 8 + deeper), words);
  else
    ldmatrix_x4<true>(tile + place_in_tile<kMajor>(k + 8 * deeper + row, mn / 8 + second), words);
}

/// The place of this thread's warp in the tile: rows [row, row + 32), columns [col, col + 32) and [64 + col, 96 +
/// col), so that a warp has gate and up of the same features.
struct Warp {
  int row = static_cast<int>(threadIdx.x) / 32 % 4 * 32, col = static_cast<int>(threadIdx.x) / 128 * 32;
};
/// Of the eight blocks of 8 columns, the first column of one.
__device__ constexpr int block_col(int block) { return block / 4 * 64 + block % 4 * 8; }

/// [rows of 16][columns of 8] as mma_m16n8k16 has them.
using Accumulators = float[2][8][4];

/// sums += the product of two tiles.
template <class T, Major kMajorA, Major kMajorB>
__device__ __forceinline__ void multiply(const uint4* left, const uint4* right, Accumulators& sums) {
  const Warp warp;
#pragma unroll
  for (int k = 0; k < kStageK; k += 16) {
    unsigned a[2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i) fragment<kMajorA>(left, warp.row + 16 * i, k, a[i]);
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      unsigned b[4];
      fragment<kMajorB>(right, warp.col + block_col(j), k, b);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        mma_m16n8k16<T>(sums[i][j], a[i], b[0], b[2]);
        mma_m16n8k16<T>(sums[i][j + 1], a[i], b[1], b[3]);
      }
    }
  }
}

/// Two neighbouring elements of a row, or the first alone.
template <class T, int N>
__device__ inline float2 get(const void* matrix, std::int64_t at, bool both) {
  const T* const from = static_cast<const T*>(matrix) + at;
  if constexpr (N > 1) return unpacked<T>(*reinterpret_cast<const unsigned*>(from));
  return {to_float(from[0]), both ? to_float(from[1]) : 0.0f};
}
template <class T, int N>
__device__ inline void put(void* matrix, std::int64_t at, bool both, float2 value) {
  T* const to = static_cast<T*>(matrix) + at;
  if constexpr (N > 1) {
    *reinterpret_cast<unsigned*>(to) = packed<T>(value.x, value.y);
  } else {
    to[0] = rounded<T>(value.x);
    if (both) to[1] = rounded<T>(value.y);
  }
}

/// The epilogue: `value` is the result of two features of a row, for every operand.
template <class T, int N, EpilogueOp kEpilogue, Activation kActivation>
__device__ __forceinline__ void finish(const KernelParams& params, std::int64_t row, int feature,
                                       const float2 (&value)[kOperands<kEpilogue, kActivation>]) {
  using A = Act<Functions<T>, kActivation>;
  constexpr int kInputs = A::kInputs;
  const bool both = feature + 1 < params.size_n;
  const std::int64_t at = row * params.size_n + feature, at_inputs = row * kInputs * params.size_n + feature;
  if constexpr (kEpilogue == EpilogueOp::store) {
    put<T, N>(params.out, at, both, value[0]);
  } else if constexpr (kEpilogue == EpilogueOp::activate) {
    float low[kInputs], high[kInputs];  // as backward will read them
#pragma unroll
    for (int i = 0; i < kInputs; ++i) {
      low[i] = to_float(rounded<T>(value[i].x)), high[i] = to_float(rounded<T>(value[i].y));
      if (params.pre) put<T, N>(params.pre, at_inputs + i * params.size_n, both, {low[i], high[i]});
    }
    put<T, N>(params.out, at, both, {A::forward(low), A::forward(high)});
  } else {
    float low[kInputs], high[kInputs], of_low[kInputs], of_high[kInputs];
#pragma unroll
    for (int i = 0; i < kInputs; ++i) {
      const float2 in = get<T, N>(params.pre, at_inputs + i * params.size_n, both);
      low[i] = in.x, high[i] = in.y;
    }
    A::backward(value[0].x, low, of_low);
    A::backward(value[0].y, high, of_high);
#pragma unroll
    for (int i = 0; i < kInputs; ++i)
      put<T, N>(params.out, at_inputs + i * params.size_n, both, {of_low[i], of_high[i]});
  }
}

/// Calls finish() for this thread's accumulators, two features at a time.
template <class T, int N, GemmKind kGemmKind, EpilogueOp kEpilogue, Activation kActivation>
__device__ __forceinline__ void finish_tile(const KernelParams& params, const Tile& w,
                                            const Accumulators& sums) {
  constexpr int kOperands = grouped::kOperands<kEpilogue, kActivation>;
  const Warp warp;
  const int lane = lane_of_warp();
  const std::int64_t first = first_row_of_out<kGemmKind>(params, w);
#pragma unroll
  for (int j = 0; j < 8 / kOperands; ++j) {
    const int feature = w.feature + warp.col + block_col(j) + 2 * (lane % 4);
    if (feature >= params.size_n) continue;
    float2 bias[kOperands] = {};
    if (params.bias) {
      const std::int64_t at = std::int64_t{w.expert} * kOperands * params.size_n + feature;
      for (int operand = 0; operand < kOperands; ++operand)
        bias[operand] = get<T, N>(params.bias, at + operand * params.size_n, feature + 1 < params.size_n);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = w.row + warp.row + 8 * i + lane / 4;
      if (row >= w.rows) continue;
      float2 value[kOperands];
#pragma unroll
      for (int operand = 0; operand < kOperands; ++operand) {
        const auto& of = sums[i / 2][j + 4 * operand];
        value[operand] = {of[i % 2 * 2] + bias[operand].x, of[i % 2 * 2 + 1] + bias[operand].y};
      }
      finish<T, N, kEpilogue, kActivation>(params, first + row, feature, value);
    }
  }
}

/// N: elements in one access of the operands, 8 or 1.
template <class T, int N, GemmKind kGemmKind, EpilogueOp kEpilogue, Activation kActivation>
__global__ void __launch_bounds__(kThreads, 2) portable_kernel(const KernelParams params) {
  constexpr int kOperands = grouped::kOperands<kEpilogue, kActivation>, kFeatures = kTileSide / kOperands;
  constexpr Major kMajorA = kMajorOfA<kGemmKind>, kMajorB = kMajorOfB<kGemmKind>;
  extern __shared__ uint4 stages[];
  const TileCoord place =
      tile_coord_of(static_cast<int>(blockIdx.x), params.slots, ceil_div(params.size_n, kFeatures));
  const Tile w = locate<kGemmKind>(params, place.tokens, place.features * kFeatures);
  if (w.row >= w.rows) return;

  const OperandPlaces<kGemmKind, kOperands> at(params, w);
  const int blocks = ceil_div(at.inner, kStageK);
  const Operand<T, N, kMajorA> left{static_cast<const T*>(params.a) + at.a, at.a_cols, w.rows, at.inner};
  const Operand<T, N, kMajorB, kOperands> right{static_cast<const T*>(params.b) + at.b, at.b_cols,
                                                params.size_n, at.inner};
  const auto load = [&](int block) {
    if (block < blocks) {
      uint4* const stage = stages + block % kStages * 2 * kTileUnits;
      left.load(stage, w.row, block * kStageK);
      right.load(stage + kTileUnits, w.feature, block * kStageK);
    }
    cp_async_commit();  // empty beyond the last block, so that waits can count
  };

  Accumulators sums = {};
#pragma unroll 1
  for (int block = 1 - kStages; block < blocks; ++block) {  // below 0 it only loads
    if (block >= 0) {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // this stage is full for all, and the one before it is read
    }
    load(block + kStages - 1);
    if (block < 0) continue;
    const uint4* const stage = stages + block % kStages * 2 * kTileUnits;
    multiply<T, kMajorA, kMajorB>(stage, stage + kTileUnits, sums);
  }
  finish_tile<T, N, kGemmKind, kEpilogue, kActivation>(params, w, sums);
}

class PortableGroupedGemm final : public GroupedGemm {
 public:
  explicit PortableGroupedGemm(Gpu& gpu) : gpu_(gpu) {}

  void run(const GroupedGemmArgs& p) override {
    if (p.out.size() == 0) return;
    with_variant(p, [&]<class T, GemmKind kGemmKind, EpilogueOp kEpilogue, Activation kActivation>() {
      launch<T, kGemmKind, kEpilogue, kActivation>(p);
    });
  }

 private:
  template <class T, GemmKind kGemmKind, EpilogueOp kEpilogue, Activation kActivation>
  void launch(const GroupedGemmArgs& p) {
    const KernelParams params = kernel_params<kGemmKind, kEpilogue, kActivation>(p);
    const unsigned blocks = tiles_of<kEpilogue, kActivation>(params);
    const cudaStream_t stream = gpu_.stream.get();
    if (reads_wide(p, params, 8))
      portable_kernel<T, 8, kGemmKind, kEpilogue, kActivation>
          <<<blocks, kThreads, kSharedBytes, stream>>>(params);
    else
      portable_kernel<T, 1, kGemmKind, kEpilogue, kActivation>
          <<<blocks, kThreads, kSharedBytes, stream>>>(params);
    check_launch("portable_kernel");
  }

  Gpu& gpu_;
};

}  // namespace

std::unique_ptr<GroupedGemm> make_portable_grouped_gemm(Gpu& gpu) {
  return std::make_unique<PortableGroupedGemm>(gpu);
}

std::unique_ptr<GroupedGemm> make_grouped_gemm(Gpu& gpu, DType dtype, std::int64_t hidden, std::int64_t ffn) {
  if (size_of(dtype) == 4) return make_fp32_grouped_gemm(gpu);
  return sm90_supports(gpu, hidden, ffn) ? make_sm90_grouped_gemm(gpu) : make_portable_grouped_gemm(gpu);
}

}  // namespace moebench::cuda::grouped
