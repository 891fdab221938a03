// SPDX-License-Identifier: Apache-2.0
// Idea: one persistent kernel for all experts. In each block a producer warp fetches boxes of both operands with the
// copy engine into a ring of four stages; two warpgroups multiply by wgmma, each 64 features by all tokens of the
// tile. Blocks form clusters: same tokens, neighbouring features; each fetches a share of the tokens' rows, for all.
// Tiles are as wide as the rows of the experts ask for (schedule.h). A tile's sums are stored, or activated and
// stored, while the next tile is multiplied (epilogue.cuh).
// Layout: operands as they are, no transposition or padding in memory: wgmma reads boxes in either order. Rows of
// different experts need no alignment: what a box holds of the next expert's rows is not stored or, where rows are
// summed (gradient), zeroed in shared memory first.
// Moves: per stage 16 KB of weights and 64 bytes for each token from L2, for 2·128·64 operations per token; each
// operand once from memory if the band of tiles under way fits into L2. Floor: FLOPs over the tensor cores' rate.
#include <algorithm>

#include "backends/cuda/grouped/epilogue.cuh"
#include "backends/cuda/grouped/product.h"
#include "backends/cuda/grouped/tensor_map.h"
#include "backends/cuda/grouped/variant.cuh"
#include "backends/cuda/grouped/wgmma.cuh"

namespace moebench::cuda::grouped {
namespace {

constexpr int kStages = 4, kGroups = 2, kAllThreads = (kGroups + 1) * kGroupThreads;
constexpr int kBoxBytes = 64 * 64 * 2, kTokenBoxBytes = 32 * 64 * 2;
constexpr int kStageBytes = 48 * 1024;  ///< 128 features and 256 tokens, or 256 (gate and up) and 128
constexpr int kSharedBytes = kStages * kStageBytes + kGroups * kStagingBytes + 512 + 1024;  // 1024 to align

template <Form kForm>
inline constexpr Major kFeatureMajor = kForm == Form::transposed ? Major::inner : Major::outer;
template <Form kForm>
inline constexpr Major kTokenMajor = kForm == Form::gradient ? Major::outer : Major::inner;

/// A place in the ring and the parity of its phase.
struct Turn {
  int stage = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

/// Addresses in shared memory, the same in both blocks of a cluster.
struct Shared {
  std::uint32_t stages;
  __device__ std::uint32_t stage(int i) const { return stages + i * kStageBytes; }
  __device__ std::uint32_t staging(int group) const { return stages + kStages * kStageBytes + group * kStagingBytes; }
  __device__ std::uint32_t barriers() const { return staging(kGroups); }
  __device__ std::uint32_t full(int i) const { return barriers() + 8 * i; }
  __device__ std::uint32_t empty(int i) const { return barriers() + 8 * (kStages + i); }
};

/// kParts: 1, or 2 where gate and up are multiplied together. Features first in a stage, then tokens.
template <Form kForm, int kParts, class Walk>
__device__ void produce(const CUtensorMap& features, const CUtensorMap& tokens, const Sizes& s, const Shared& shared, Walk walk) {
  constexpr int kFeatureBoxes = 2 * kParts, kTokensOfBox = kForm == Form::gradient ? 64 : 32;
  constexpr int kBytesOfTokenBox = kForm == Form::gradient ? kBoxBytes : kTokenBoxBytes;
  const int rank = static_cast<int>(cluster_rank()), size = static_cast<int>(cluster_size());
  const unsigned all = (1u << size) - 1;
  Turn turn;
  Work w;
  while (walk.next(w)) {
    if (lane_of_warp() != 0) continue;
    const int token_boxes = ceil_div(w.tokens, kTokensOfBox);
    for (int block = 0; block < w.inner; ++block) {
      const std::uint32_t full = shared.full(turn.stage), to = shared.stage(turn.stage);
      const int k = block * kTileInner;
      barrier_wait(shared.empty(turn.stage), turn.parity ^ 1);
      barrier_expect(full, static_cast<unsigned>(kFeatureBoxes * kBoxBytes + token_boxes * kBytesOfTokenBox));
#pragma unroll
      for (int i = 0; i < kFeatureBoxes; ++i) {
        const int feature = w.feature + 64 * (i % 2) + i / 2 * s.features;
        if constexpr (kForm == Form::gradient)
          load_box(to + i * kBoxBytes, &features, full, feature, w.row + k, 0);
        else if constexpr (kForm == Form::transposed)
          load_box(to + i * kBoxBytes, &features, full, k, feature, w.expert);
        else
          load_box(to + i * kBoxBytes, &features, full, feature, k, w.expert);
      }
      const std::uint32_t behind = to + kFeatureBoxes * kBoxBytes;
      for (int i = rank; i < token_boxes; i += size) {
        const int token = w.token + i * kTokensOfBox;
        if constexpr (kForm == Form::gradient)
          load_box_for_all(behind + i * kBytesOfTokenBox, &tokens, full, token, w.row + k, 0, all);
        else
          load_box_for_all(behind + i * kBytesOfTokenBox, &tokens, full, k, w.row + token, 0, all);
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

/// Tells all blocks of the cluster that this warp has read a stage.
__device__ inline void release(std::uint32_t empty) {
  if (lane_of_warp() < static_cast<int>(cluster_size())) barrier_arrive_at(empty, static_cast<unsigned>(lane_of_warp()));
}

/// One stage, for a tile of kWidth tokens.
template <class T, Form kForm, int kParts, int kWidth>
__device__ __forceinline__ void multiply_stage(float (&d)[128], std::uint64_t a, std::uint64_t b, int add) {
  constexpr Major kA = kFeatureMajor<kForm>, kB = kTokenMajor<kForm>;
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < kTileInner / 16; ++k) {
    wgmma<T, kWidth, kA, kB>(d, a, b, add || k > 0);
    if constexpr (kParts == 2) wgmma<T, kWidth, kA, kB>(d + 64, a + (2 * kBoxBytes >> 4), b, add || k > 0);
    a += kStep<kA>, b += kStep<kB>;
  }
  wgmma_commit();
}

/// Sums a tile of `blocks` inner blocks into d while the last tile's epilogue is worked off; without blocks only that.
/// `find_next` is called once, when instructions are under way.
template <class T, Form kForm, int kParts, class Last, class FindNext>
__device__ __forceinline__ void multiply(float (&d)[128], const Work& w, int blocks, const Shared& shared, Turn& turn, int group, Last& last,
                                         FindNext find_next) {
  const int width = __shfl_sync(0xFFFFFFFFu, ceil_div(w.tokens, kTokenStep), 0);
  std::uint32_t before = 0;
  for (int block = 0; block == 0 || block < blocks; ++block) {
    if (block < blocks) {
      barrier_wait(shared.full(turn.stage), turn.parity);
      const std::uint32_t features = shared.stage(turn.stage) + group * kBoxBytes;
      if constexpr (kForm == Form::gradient)
        if (w.rows - block * kTileInner < kTileInner) clear_rows(features, w.rows - block * kTileInner, group);
      const std::uint64_t a = descriptor(features), b = descriptor(shared.stage(turn.stage) + 2 * kParts * kBoxBytes);
      constexpr int kFull = kTileTokens / kParts;
      if (width == kFull / kTokenStep) {
        multiply_stage<T, kForm, kParts, kFull>(d, a, b, block);
      } else switch (width) {
#define MB_WIDTH(i)                                                                                              \
  case i:                                                                                                        \
    if constexpr (i * kTokenStep < kFull) multiply_stage<T, kForm, kParts, i * kTokenStep>(d, a, b, block); \
    break
        MB_WIDTH(1);
        MB_WIDTH(2);
        MB_WIDTH(3);
        MB_WIDTH(4);
        MB_WIDTH(5);
        MB_WIDTH(6);
        MB_WIDTH(7);
        MB_WIDTH(8);
        MB_WIDTH(9);
        MB_WIDTH(10);
        MB_WIDTH(11);
        MB_WIDTH(12);
        MB_WIDTH(13);
        MB_WIDTH(14);
        MB_WIDTH(15);
#undef MB_WIDTH
      }
    }
    if (block == 0 && blocks > 0) find_next();
    // The warpgroups take their steps in turn: while one does, the other keeps the tensor cores busy.
    const int to_come = blocks - block;
    int steps = to_come <= 1 ? last.left() : 0;
    if ((block ^ group) & 1) steps = ceil_div(last.left(), (max(to_come, 1) + 1) / 2);
    for (; steps > 0; --steps) last.advance();
    wgmma_wait<1>();
    if (block > 0) release(before);
    before = shared.empty(turn.stage);
    if (block < blocks) turn.advance();
  }
  wgmma_wait<0>();
  if (blocks > 0) release(before);
}

template <class T, Form kForm, After kAfter, Activation kActivation, int kStored, class Walk>
__device__ __forceinline__ void consume(const Sizes& s, const Shared& shared, Walk walk) {
  using Last = Epilogue<T, kForm, kAfter, kActivation, kStored>;
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  Last last(s, shared.staging(group));
  Turn turn;
  Work w{}, next{};
  float d[128];
  bool more = walk.next(w);
  while (true) {  // once more after the last tile, for its epilogue
    const bool now = more;
    multiply<T, kForm, Last::kGated ? 2 : 1>(d, w, now ? __shfl_sync(0xFFFFFFFFu, w.inner, 0) : 0, shared, turn, group, last,
                                             [&] { more = walk.next(next); });
    if (!now) break;
    last.take(d, w);
    w = next;
  }
}

/// As kernel parameters: the copy engine reads them where they are.
struct Tensors {
  CUtensorMap features, tokens;
};

template <class T, Form kForm, After kAfter, Activation kActivation, int kStored>
__global__ void __launch_bounds__(kAllThreads, 1)
    grouped_kernel(const __grid_constant__ Tensors tensors, const __grid_constant__ Sizes s) {
  constexpr int kParts = kAfter == After::activate && kActivation == Activation::swiglu ? 2 : 1;
  extern __shared__ char raw[];
  __shared__ float costs[kCandidates];
  const Shared shared{(shared_address(raw) + 1023) & ~1023u};
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      barrier_init(shared.full(i), 1);
      barrier_init(shared.empty(i), cluster_size() * kGroups * kGroupThreads / 32);
    }
    barrier_init_fence();
    prefetch_map(&tensors.features);
    prefetch_map(&tensors.tokens);
  }
  const Walker<kForm, kTileTokens / kParts> walk(s, costs);
  sync_cluster();
  if (threadIdx.x >= kGroups * kGroupThreads) {
    give_registers<40>();
    if (threadIdx.x < kGroups * kGroupThreads + 32) produce<kForm, kParts>(tensors.features, tensors.tokens, s, shared, walk);
  } else {
    take_registers<232>();
    consume<T, kForm, kAfter, kActivation, kStored>(s, shared, walk);
  }
  sync_cluster();  // other blocks may still write to, or arrive in, this one
}

class Sm90Multiplier final : public Multiplier {
 public:
  explicit Sm90Multiplier(Gpu& gpu) : gpu_(gpu) {}

  void run(const Product& p) override {
    if (p.out.size() == 0) return;
    if (p.left.rows == 0) {
      if (p.form == Form::gradient) MB_CUDA(cudaMemsetAsync(p.out.data, 0, p.out.bytes(), gpu_.stream.get()));
      return;
    }
    const std::int64_t inner = p.form == Form::gradient ? p.left.rows / p.experts : p.left.cols;
    const int stored = stored_tokens(ceil_div(static_cast<int>(inner), kTileInner));
    with_variant(p, [&]<class T, Form kForm, After kAfter, Activation kActivation>() {
      if constexpr (kAfter == After::store)
        if (stored == 64) return launch<T, kForm, kAfter, kActivation, 64>(p);
      launch<T, kForm, kAfter, kActivation, 32>(p);
    });
  }

 private:
  template <class T, Form kForm, After kAfter, Activation kActivation, int kStored>
  void launch(const Product& p) {
    using Last = Epilogue<T, kForm, kAfter, kActivation, kStored>;
    constexpr bool kGradient = kForm == Form::gradient;
    const std::int64_t columns = kForm == Form::transposed ? p.right.rows / p.experts : p.right.cols;
    const Sizes sizes{.offsets = p.offsets,
                      .experts = static_cast<int>(p.experts),
                      .features = static_cast<int>(Last::kGated ? columns / 2 : columns),
                      .tokens = static_cast<int>(kGradient ? p.left.cols : 0),
                      .inner = static_cast<int>(kGradient ? 0 : p.left.cols),
                      .total_rows = static_cast<int>(p.left.rows),
                      .bias = p.bias.data,
                      .out = p.out.data,
                      .pre = p.pre.data,
                      .out_cols = static_cast<int>(p.out.cols),
                      .pre_cols = static_cast<int>(p.pre.cols)};
    const Tensors tensors{.features = map_of(p.right, {.stacked = kGradient ? 1 : p.experts}),
                          .tokens = map_of(p.left, {.box_rows = kGradient ? 64 : 32})};
    auto* const kernel = grouped_kernel<T, kForm, kAfter, kActivation, kStored>;
    MB_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
    const auto size = static_cast<unsigned>(cluster_of(sizes.features));
    cudaLaunchAttribute cluster{};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {size, 1, 1};
    cudaLaunchConfig_t config{.gridDim = {size},
                              .blockDim = {kAllThreads},
                              .dynamicSmemBytes = kSharedBytes,
                              .stream = gpu_.stream.get(),
                              .attrs = &cluster,
                              .numAttrs = 1};
    int& clusters = clusters_[size];
    if (clusters == 0) MB_CUDA(cudaOccupancyMaxActiveClusters(&clusters, kernel, &config));
    config.gridDim = {size * static_cast<unsigned>(clusters)};
    MB_CUDA(cudaLaunchKernelEx(&config, kernel, tensors, sizes));
  }

  Gpu& gpu_;
  int clusters_[5] = {};  ///< by their size: how many run at once, found at the first launch
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
