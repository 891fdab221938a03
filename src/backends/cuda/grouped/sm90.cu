// SPDX-License-Identifier: Apache-2.0
// Grouped GEMM on Hopper: out[R_e] = a[R_e] · b_e for all experts e (and dgrad, wgrad, see grouped_gemm.h) in one
// persistent launch; bf16 or fp16 in, fp32 accumulators. A block (CTA):
//
//   warp 8      producer    TMA, or cp.async of gathered rows ──► stages [features | tokens] ──► consumers
//                           tile scheduler ──► ring of tiles ──► all other warps
//   warps 0-3   consumer 0  wgmma 64 x N x 16, swap A/B: features are M, tokens are N ──► epilogue tiles
//   warps 4-7   consumer 1  the same for the next 64 features ──► epilogue tiles
//   warps 9-11  epilogue    epilogue tiles ──► activation or its derivative ──► TMA store, or 16-byte stores
//
// Each arrow goes through a ring in shared memory with mbarriers full[i] and, on the way back, empty[i].
//
// Read in this order: schedule.h, tile_scheduler.cuh, pipeline.cuh; producer.cuh, consumer.cuh,
// accumulator_staging.cuh, epilogue.cuh; then grouped_gemm_kernel below. The instructions are in ptx/.
// Blocks of a cluster compute the same tokens and neighbouring features, and multicast the tokens.
// Layout: operands as they are, no transposition or padding in memory: wgmma reads both K-major and MN-major tiles.
// Rows of different experts need no alignment: rows of the next expert that a TMA box holds are not stored or, where
// rows are summed (wgrad), zeroed in shared memory first.
// Moves: per stage 16 KB of weights and 64 bytes for each token from L2, for 2·128·64 operations per token; each
// operand once from memory if the band of tiles under way fits into L2. Floor: FLOPs over the tensor cores' rate.
#include <algorithm>

#include "backends/cuda/grouped/consumer.cuh"
#include "backends/cuda/grouped/epilogue.cuh"
#include "backends/cuda/grouped/grouped_gemm.h"
#include "backends/cuda/grouped/producer.cuh"
#include "backends/cuda/grouped/tensor_map.h"
#include "backends/cuda/grouped/variant.cuh"
#include "backends/cuda/runtime/device_info.h"
#include "backends/cuda/runtime/launch.cuh"

namespace moebench::cuda::grouped {
namespace {

template <class T, class Config>
__global__ void __launch_bounds__(kBlockThreads, 1)
    grouped_gemm_kernel(const __grid_constant__ TensorMaps maps,
                        const __grid_constant__ KernelParams params) {
  extern __shared__ char raw[];
  __shared__ float costs[kCandidates];
  constexpr unsigned kAlignment = SharedMemory<Config::kLayout>::kAlignment;
  const SharedMemory<Config::kLayout> shared{(shared_address(raw) + kAlignment - 1) & ~(kAlignment - 1)};
  if (threadIdx.x == 0) {
    shared.init(Config::kGathers ? 32 : 0);
    prefetch_tensor_map(&maps.features);
    prefetch_tensor_map(&maps.tokens);
  }
  grid_dependency_wait();
  const TileScheduler<Config> scheduler(params, costs);
  cluster_sync();
  // Broadcast from one lane, so that the compiler keeps what depends on it, matrix descriptors, in uniform registers.
  const int warp = __shfl_sync(0xFFFFFFFFu, static_cast<int>(threadIdx.x) / 32, 0),
            helper = warp - kConsumers * kWarpgroupThreads / 32;
  if (helper >= 0) {
    warpgroup_reg_dealloc<kHelperRegisters>();
    if (helper == 0)
      produce<Config>(maps.features, maps.tokens, params, shared, scheduler);
    else
      Epilogue<T, Config>(maps, params, shared).run(helper - 1);
  } else {
    warpgroup_reg_alloc<kConsumerRegisters>();
    consume<T, Config>(params, shared, warp / (kWarpgroupThreads / 32));
  }
  cluster_sync();  // other blocks may still write to, or arrive in, the shared memory of this one
}

/// The clock under the power cap, for what is foreseen in microseconds.
constexpr double kCyclesPerMicrosecond = 1500;

/// Chooses the kernel for a GEMM and launches it: as many clusters as run at once.
class Sm90GroupedGemm final : public GroupedGemm {
 public:
  explicit Sm90GroupedGemm(Gpu& gpu) : gpu_(gpu) {
    MB_CUDA(cudaDeviceGetAttribute(&blocks_, cudaDevAttrMultiProcessorCount, gpu.device));
  }

  void run(const GroupedGemmArgs& p) override {
    if (p.out.size() == 0) return;
    if (rows_of(p) == 0) {
      if (p.kind == GemmKind::wgrad)
        MB_CUDA(cudaMemsetAsync(p.out.data, 0, p.out.bytes(), gpu_.stream.get()));
      return;
    }
    with_variant(p, [&]<class T, GemmKind kGemmKind, EpilogueOp kEpilogue, Activation kActivation>() {
      const auto with_layout = [&]<SmemLayout kLayout>() {
        if constexpr (kEpilogue == EpilogueOp::activate && kActivation == Activation::swiglu)
          if (p.slot_of) return launch<T, KernelConfig<kGemmKind, kEpilogue, kActivation, kLayout, true>>(p);
        if constexpr (kEpilogue == EpilogueOp::differentiate)
          if (p.dscore_partials)
            return launch<T, KernelConfig<kGemmKind, kEpilogue, kActivation, kLayout, false, true>>(p);
        launch<T, KernelConfig<kGemmKind, kEpilogue, kActivation, kLayout>>(p);
      };
      using Standard = KernelConfig<kGemmKind, kEpilogue, kActivation, SmemLayout::standard>;
      if constexpr (Standard::kWgrad) {
        if (k_is_short(ceil_div(static_cast<int>(rows_of(p) / p.experts), kTileK)))
          return with_layout.template operator()<SmemLayout::short_k>();
      } else if constexpr (!Standard::kGated) {
        if (tiles_are_wide(forecast(p))) return with_layout.template operator()<SmemLayout::wide_n>();
      }
      with_layout.template operator()<SmemLayout::standard>();
    });
  }

 private:
  /// Rows of all experts.
  static std::int64_t rows_of(const GroupedGemmArgs& p) {
    return p.kind == GemmKind::wgrad ? p.a.rows : p.out.rows;
  }

  /// Of an expert's result; for SwiGLU's first GEMM gate and up.
  static std::int64_t columns_of(const GroupedGemmArgs& p) {
    return p.kind == GemmKind::dgrad ? p.b.rows / p.experts : p.b.cols;
  }

  Forecast forecast(const GroupedGemmArgs& p) const {
    return {
        .rows = static_cast<float>(p.share * static_cast<double>(rows_of(p))) / static_cast<float>(p.experts),
        .experts = static_cast<int>(p.experts),
        .features = static_cast<int>(columns_of(p)),
        .k_blocks = ceil_div(static_cast<int>(p.a.cols), kTileK),
        .blocks = blocks_};
  }

  template <class T, class Config>
  void launch(const GroupedGemmArgs& p) {
    constexpr bool kWgrad = Config::kWgrad, kGated = Config::kGated;
    KernelParams params{.begin = p.begin ? p.begin : p.offsets,
                        .end = p.end ? p.end : p.offsets + 1,
                        .experts = static_cast<int>(p.experts),
                        .size_m = static_cast<int>(kGated ? columns_of(p) / 2 : columns_of(p)),
                        .size_n = static_cast<int>(kWgrad ? p.a.cols : 0),
                        .size_k = static_cast<int>(kWgrad ? 0 : p.a.cols),
                        .total_rows = static_cast<int>(p.share * static_cast<double>(rows_of(p))),
                        .late_cycles = static_cast<float>(p.spare_us * kCyclesPerMicrosecond),
                        .bias = p.bias.data,
                        .out = p.out.data,
                        .pre = p.pre.data,
                        .out_cols = static_cast<int>(p.out.cols),
                        .pre_cols = static_cast<int>(p.pre.cols),
                        .by_token = p.a.data,
                        .token_cols = static_cast<int>(p.a.cols),
                        .top_k = static_cast<int>(p.top_k),
                        .slot_of = p.slot_of,
                        .dscore_partials = p.dscore_partials,
                        .out_rows = p.out_rows};
    constexpr int kBoxRows = kEpiTileN<Config::kOperands>;
    const TensorMaps maps{
        .features = map_of(p.b, {.stacked = kWgrad ? 1 : p.experts}),
        .tokens = map_of(p.a, {.box_rows = kWgrad ? 64 : 32}),
        .stored = Config::kEpilogue == EpilogueOp::store && !p.out_rows
                      ? map_of(p.out, {.stacked = kWgrad ? p.experts : 1, .box_rows = kBoxRows})
                  : Config::kEpilogue == EpilogueOp::activate && p.pre.data
                      ? map_of(p.pre, {.box_rows = kBoxRows})
                      : CUtensorMap{}};
    auto* const kernel = grouped_gemm_kernel<T, Config>;
    MB_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 SharedMemory<Config::kLayout>::kBytes));
    const auto size = static_cast<unsigned>(
        Config::kGathers ? cluster_size_when_gathering(params.total_rows / params.experts, Config::kTokens)
                         : cluster_size_of(params.size_m));
    cudaLaunchAttribute attributes[] = {{}, pdl_attribute()};
    attributes[0].id = cudaLaunchAttributeClusterDimension;
    attributes[0].val.clusterDim = {size, 1, 1};
    cudaLaunchConfig_t config{.gridDim = {size},
                              .blockDim = {kBlockThreads},
                              .dynamicSmemBytes = SharedMemory<Config::kLayout>::kBytes,
                              .stream = gpu_.stream.get(),
                              .attrs = attributes,
                              .numAttrs = 2};
    int& clusters = clusters_[size];
    if (clusters == 0) MB_CUDA(cudaOccupancyMaxActiveClusters(&clusters, kernel, &config));
    params.late_clusters = std::min(ceil_div(p.spare_units, static_cast<int>(size)), clusters - 1);
    config.gridDim = {size * static_cast<unsigned>(clusters)};
    MB_CUDA(cudaLaunchKernelEx(&config, kernel, maps, params));
  }

  Gpu& gpu_;
  int blocks_ = 0;        ///< of a grid that run at once
  int clusters_[5] = {};  ///< by their size: how many run at once, found at the first launch
};

}  // namespace

bool sm90_supports(const Gpu& gpu, std::int64_t hidden, std::int64_t ffn) {
  const auto [major, minor] = capability_of(gpu.device);
  return major == 9 && minor == 0 && hidden % 8 == 0 && ffn % 8 == 0;
}

std::unique_ptr<GroupedGemm> make_sm90_grouped_gemm(Gpu& gpu) {
  return std::make_unique<Sm90GroupedGemm>(gpu);
}

}  // namespace moebench::cuda::grouped
