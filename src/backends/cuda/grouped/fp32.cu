// SPDX-License-Identifier: Apache-2.0
// Grouped GEMM in fp32 and tf32 on any GPU from Ampere on. Idea: each block computes one tile of 128 x 128 of one
// expert's product (fixed_tiles.cuh) with four warps, fp32 by FFMA (ffma.cuh), 8 x 16 per thread, tf32 by mma.sync
// (mma_tf32.cuh), 64 x 64 per warp; rows are M, features are N. The warps share the rows of a tile evenly, in parts of
// 16, and leave out those that the expert does not have: a tile of 40 rows takes half of the arithmetic of one of 128.
// Layout: operands as they are, in memory and in shared memory: K-major tiles [128][32], MN-major tiles [32][128], both
// padded so that no read of a warp meets a bank twice. Two stages of 32 along K, filled by cp.async.
// What shared memory returns to registers, 128 bytes a cycle, is what FFMA has to be protected from: 8 x 16 per thread
// takes 192 cycles for 256 cycles of FFMA, 8 x 8 would take 256.
// Moves: per stage 32 KB from L2 for 2·128·128·32 operations; each operand once from memory if the band of tiles under way
// fits into L2. Floor: FLOPs over the rate of FFMA (132 multiprocessors · 256 · 1.98 GHz = 67 TFLOP/s on an H200), or of
// TF32 by mma.sync.
#include "backends/cuda/grouped/ffma.cuh"
#include "backends/cuda/grouped/mma_tf32.cuh"
#include "backends/cuda/grouped/variant.cuh"
#include "backends/cuda/stages/activation.cuh"

namespace moebench::cuda::grouped {
namespace {

using namespace ptx;

/// `kCount` neighbouring elements of a row, aligned to their size, or those of them that are left.
template <bool kWide, int kCount>
__device__ __forceinline__ void get(const void* matrix, std::int64_t at, int left, float (&to)[kCount]) {
  using Vector = std::conditional_t<kCount == 4, float4, float2>;
  const float* const from = static_cast<const float*>(matrix) + at;
  if constexpr (kWide) {
    *reinterpret_cast<Vector*>(to) = *reinterpret_cast<const Vector*>(from);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = i < left ? from[i] : 0.0f;
  }
}
template <bool kWide, int kCount>
__device__ __forceinline__ void put(void* matrix, std::int64_t at, int left, const float (&value)[kCount]) {
  using Vector = std::conditional_t<kCount == 4, float4, float2>;
  float* const to = static_cast<float*>(matrix) + at;
  if constexpr (kWide) {
    *reinterpret_cast<Vector*>(to) = *reinterpret_cast<const Vector*>(value);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      if (i < left) to[i] = value[i];
  }
}

/// The epilogue: `value` is the result of kCount features of a row, for every operand.
template <bool kWide, EpilogueOp kEpilogue, Activation kActivation, int kOperands, int kCount>
__device__ __forceinline__ void finish(const KernelParams& params, std::int64_t row, int feature,
                                       const float (&value)[kOperands][kCount]) {
  using A = Act<Functions<float>, kActivation>;
  constexpr int kInputs = A::kInputs;
  const int left = params.size_n - feature;
  const std::int64_t at = row * params.size_n + feature, at_inputs = row * kInputs * params.size_n + feature;
  if constexpr (kEpilogue == EpilogueOp::store) {
    put<kWide>(params.out, at, left, value[0]);
  } else {
    float in[kInputs][kCount], of[kInputs][kCount], out[kCount];
#pragma unroll
    for (int i = 0; i < kInputs; ++i) {
      const std::int64_t place = at_inputs + i * params.size_n;
      if constexpr (kEpilogue == EpilogueOp::differentiate)
        get<kWide>(params.pre, place, left, in[i]);
      else if (params.pre)
        put<kWide>(params.pre, place, left, value[i]);
    }
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
      float inputs[kInputs], gradients[kInputs];
#pragma unroll
      for (int i = 0; i < kInputs; ++i)
        inputs[i] = kEpilogue == EpilogueOp::differentiate ? in[i][n] : value[kOperands > 1 ? i : 0][n];
      if constexpr (kEpilogue == EpilogueOp::differentiate) {
        A::backward(value[0][n], inputs, gradients);
#pragma unroll
        for (int i = 0; i < kInputs; ++i) of[i][n] = gradients[i];
      } else {
        out[n] = A::forward(inputs);
      }
    }
    if constexpr (kEpilogue == EpilogueOp::activate) {
      put<kWide>(params.out, at, left, out);
    } else {
#pragma unroll
      for (int i = 0; i < kInputs; ++i) put<kWide>(params.out, at_inputs + i * params.size_n, left, of[i]);
    }
  }
}

template <class Math>
inline constexpr int kStageFloats = Math::PlaceA::kFloats + Math::PlaceB::kFloats;

/// kWide: rows of all tensors are read and written in units of 16 bytes.
template <class Math, bool kWide, GemmKind kGemmKind, EpilogueOp kEpilogue, Activation kActivation>
__global__ void __launch_bounds__(kBlock, 2) fp32_kernel(const KernelParams params) {
  constexpr int kOperands = grouped::kOperands<kEpilogue, kActivation>, kFeatures = kTileSide / kOperands;
  extern __shared__ float4 shared[];
  float* const stages = reinterpret_cast<float*>(shared);
  const TileCoord place =
      tile_coord_of(static_cast<int>(blockIdx.x), params.slots, ceil_div(params.size_n, kFeatures));
  const Tile w = locate<kGemmKind>(params, place.tokens, place.features * kFeatures);
  if (w.row >= w.rows) return;

  const OperandPlaces<kGemmKind, kOperands> at(params, w);
  const int blocks = ceil_div(at.inner, kStageK);
  const Operand<typename Math::PlaceA, kMajorOfA<kGemmKind>, 1, kWide> left{
      static_cast<const float*>(params.a) + at.a, at.a_cols, w.rows, at.inner};
  const Operand<typename Math::PlaceB, kMajorOfB<kGemmKind>, kOperands, kWide> right{
      static_cast<const float*>(params.b) + at.b, at.b_cols, params.size_n, at.inner};
  const auto load = [&](int block) {
    if (block < blocks) {
      float* const stage = stages + block % kStages * kStageFloats<Math>;
      left.load(stage, w.row, block * kStageK);
      right.load(stage + Math::PlaceA::kFloats, w.feature, block * kStageK);
    }
    cp_async_commit();  // empty beyond the last block, so that waits can count
  };

  Math math;
#pragma unroll 1
  for (int block = 1 - kStages; block < blocks; ++block) {  // below 0 it only loads
    if (block >= 0) {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // this stage is full for all, and the one before it is read
    }
    load(block + kStages - 1);
    if (block < 0) continue;
    const float* const stage = stages + block % kStages * kStageFloats<Math>;
    math.multiply(stage, stage + Math::PlaceA::kFloats, w.rows - w.row);
  }
  const std::int64_t first = first_row_of_out<kGemmKind>(params, w);
  math.template for_each<kOperands>([&](int row, int column, auto& value) {
    const int feature = w.feature + column;
    if (w.row + row >= w.rows || feature >= params.size_n) return;
    if (params.bias) {
#pragma unroll
      for (int operand = 0; operand < kOperands; ++operand) {
        float bias[Math::kWidth];
        get<kWide>(params.bias, (std::int64_t{w.expert} * kOperands + operand) * params.size_n + feature,
                   params.size_n - feature, bias);
#pragma unroll
        for (int n = 0; n < Math::kWidth; ++n) value[operand][n] += bias[n];
      }
    }
    finish<kWide, kEpilogue, kActivation>(params, first + w.row + row, feature, value);
  });
}

class Fp32GroupedGemm final : public GroupedGemm {
 public:
  explicit Fp32GroupedGemm(Gpu& gpu) : gpu_(gpu) {}

  void run(const GroupedGemmArgs& p) override {
    if (p.out.size() == 0) return;
    with_gemm(p, [&]<GemmKind kGemmKind, EpilogueOp kEpilogue, Activation kActivation>() {
      const KernelParams params = kernel_params<kGemmKind, kEpilogue, kActivation>(p);
      const unsigned blocks = tiles_of<kEpilogue, kActivation>(params);
      const auto launch = [&]<class Math>(auto wide) {
        constexpr auto kernel = fp32_kernel<Math, decltype(wide)::value, kGemmKind, kEpilogue, kActivation>;
        constexpr int kBytes = kStages * kStageFloats<Math> * static_cast<int>(sizeof(float));
        MB_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
        kernel<<<blocks, kBlock, kBytes, gpu_.stream.get()>>>(params);
        check_launch("fp32_kernel");
      };
      const auto by_width = [&]<class Math>() {
        if (reads_wide(p, params, 4))
          launch.template operator()<Math>(std::true_type{});
        else
          launch.template operator()<Math>(std::false_type{});
      };
      if (p.a.dtype == DType::tf32)
        by_width.template operator()<TensorCores<kMajorOfA<kGemmKind>, kMajorOfB<kGemmKind>>>();
      else
        by_width.template operator()<Ffma<kMajorOfA<kGemmKind>, kMajorOfB<kGemmKind>>>();
    });
  }

 private:
  Gpu& gpu_;
};

}  // namespace

std::unique_ptr<GroupedGemm> make_fp32_grouped_gemm(Gpu& gpu) {
  return std::make_unique<Fp32GroupedGemm>(gpu);
}

}  // namespace moebench::cuda::grouped
