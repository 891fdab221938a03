// SPDX-License-Identifier: Apache-2.0
// Idea: one persistent kernel for all experts. In each block a producer warp fetches boxes of both operands with the
// copy engine into a ring of stages; two warpgroups multiply by wgmma, each 64 features by all tokens of the
// tile; three finishing warps activate and store (epilogue.cuh) while the next tile is multiplied (layout.cuh has the
// roles, handover.cuh the way between them). Blocks form clusters: same tokens, neighbouring features; each fetches a
// share of the tokens' rows, for all. Tiles are as wide as the rows of the experts ask for (schedule.h).
// Layout: operands as they are, no transposition or padding in memory: wgmma reads boxes in either order. Rows of
// different experts need no alignment: what a box holds of the next expert's rows is not stored or, where rows are
// summed (gradient), zeroed in shared memory first.
// Moves: per stage 16 KB of weights and 64 bytes for each token from L2, for 2·128·64 operations per token; each
// operand once from memory if the band of tiles under way fits into L2. Floor: FLOPs over the tensor cores' rate.
#include <algorithm>

#include "backends/cuda/grouped/epilogue.cuh"
#include "backends/cuda/grouped/gather.cuh"
#include "backends/cuda/grouped/product.h"
#include "backends/cuda/grouped/tensor_map.h"
#include "backends/cuda/grouped/variant.cuh"
#include "backends/cuda/grouped/wgmma.cuh"
#include "backends/cuda/runtime/device_info.h"
#include "backends/cuda/runtime/launch.cuh"

namespace moebench::cuda::grouped {
namespace {

constexpr int kLoadBytes = 64 * 64 * 2, kTokenLoadBytes = 32 * 64 * 2;

template <Form kForm>
inline constexpr Major kFeatureMajor = kForm == Form::transposed ? Major::inner : Major::outer;
template <Form kForm>
inline constexpr Major kTokenMajor = kForm == Form::gradient ? Major::outer : Major::inner;

/// Fetches what the copy engine fetches of a stage, for inner block `block`: features first, then tokens. By one thread.
template <class K>
__device__ void load_stage(const CUtensorMap& features, const CUtensorMap& tokens, const Sizes& s,
                           const Work& w, int block, std::uint32_t to, std::uint32_t full) {
  constexpr int kFeatureLoads = 2 * K::kParts, kTokensOfLoad = K::kGradient ? 64 : 32;
  constexpr int kTokenBytes = K::kGradient ? kLoadBytes : kTokenLoadBytes;
  const int rank = static_cast<int>(cluster_rank()), size = static_cast<int>(cluster_size());
  const int token_loads = K::kGathers ? 0 : ceil_div(w.tokens, kTokensOfLoad), k = block * kTileInner;
  const unsigned all = (1u << size) - 1;
  barrier_expect(full, static_cast<unsigned>(kFeatureLoads * kLoadBytes + token_loads * kTokenBytes));
  for (int i = K::kGathers ? rank : 0; i < kFeatureLoads; i += K::kGathers ? size : 1) {
    const int feature = w.feature + 64 * (i % 2) + i / 2 * s.features;
    const int x = K::kForm == Form::transposed ? k : feature;
    const int y = K::kGradient                   ? w.row + k
                  : K::kForm == Form::transposed ? feature
                                                 : k,
              z = K::kGradient ? 0 : w.expert;
    if constexpr (K::kGathers)
      load_box_for_all(to + i * kLoadBytes, &features, full, x, y, z, all);
    else
      load_box(to + i * kLoadBytes, &features, full, x, y, z);
  }
  const std::uint32_t behind = to + kFeatureLoads * kLoadBytes;
  for (int i = rank; i < token_loads; i += size) {
    const int token = w.token + i * kTokensOfLoad;
    load_box_for_all(behind + i * kTokenBytes, &tokens, full, K::kGradient ? token : k,
                     w.row + (K::kGradient ? k : token), 0, all);
  }
}

/// By one warp. The next task is published before this one's loads, so that nobody waits for it.
template <class K>
__device__ void produce(const CUtensorMap& features, const CUtensorMap& tokens, const Sizes& s,
                        const Shared<K::kRings>& shared, Walker<K> walk) {
  [[maybe_unused]] RowFetch<K> rows(s);
  Turn<Shared<K::kRings>::kStages> turn;
  Turn<kTasks> task;
  const auto publish_next = [&] {
    Work w{};
    walk.next(w);
    if (lane_of_warp() == 0) write_task(shared, task, w);
    __syncwarp();
    task.advance();
    return w;
  };
  Work w = publish_next();
  while (w.inner > 0) {
    const Work next = publish_next();
    if constexpr (K::kGathers) rows.begin(w);
    if (K::kGathers || lane_of_warp() == 0) {
      for (int block = 0; block < w.inner; ++block, turn.advance()) {
        const std::uint32_t to = shared.stage(turn.place), full = shared.stage_full(turn.place);
        barrier_wait(shared.stage_empty(turn.place), turn.parity ^ 1);
        if (lane_of_warp() == 0) load_stage<K>(features, tokens, s, w, block, to, full);
        if constexpr (K::kGathers) {
          __syncwarp();
          rows.load(w, block, to + 2 * K::kParts * kLoadBytes, full);
        }
      }
    }
    __syncwarp();
    w = next;
  }
}

/// Zeroes rows [valid, 64) of a box: they are the next expert's. By one warpgroup.
__device__ inline void clear_rows(std::uint32_t box, int valid, int group) {
  const int thread = static_cast<int>(threadIdx.x) % kGroupThreads, row = thread / 2;
  if (row >= valid) {
    const std::uint32_t at = box + row * 128 + thread % 2 * 64;
#pragma unroll
    for (int i = 0; i < 4; ++i) store_shared(at + 16 * i, {});
  }
  fence_async();
  sync_threads(group_barrier(group), kGroupThreads);
}

/// Tells all blocks of the cluster that this warp has read a stage.
__device__ inline void release(std::uint32_t empty) {
  if (lane_of_warp() < static_cast<int>(cluster_size()))
    barrier_arrive_at(empty, static_cast<unsigned>(lane_of_warp()));
}

/// How far a warpgroup has read the ring of stages.
template <Rings kRings>
struct Reader {
  Turn<Shared<kRings>::kStages> turn;  ///< the next stage
  bool full = false;                   ///< it is known to be full
  std::uint32_t before = 0;  ///< the barrier that says the last stage is empty, if that is still being read
};

/// Inner blocks [from, to) of a tile of kWidth tokens. A warp that issues an instruction waits until it is taken, and
/// hardly one is queued: what else there is to do is done bit by bit between a block's four instructions, so that none
/// of them is waited for.
template <class T, class K, int kWidth>
__device__ __forceinline__ void multiply_blocks(float (&d)[K::kSums], const Work& w, int from, int to,
                                                const Shared<K::kRings>& shared, Reader<K::kRings>& reader,
                                                int group) {
  constexpr Major kA = kFeatureMajor<K::kForm>, kB = kTokenMajor<K::kForm>;
  // An instruction has 256 tokens at most. Where tiles may have more, all widths are split at the same one: otherwise
  // the compiler finds no registers for the sums, and waits for each instruction.
  constexpr int kHead = K::kMost > kTileTokens && kWidth > 128 ? 128 : kWidth;
  for (int block = from; block < to; ++block) {
    if (!reader.full) barrier_wait(shared.stage_full(reader.turn.place), reader.turn.parity);
    const std::uint32_t features = shared.stage(reader.turn.place) + group * kLoadBytes;
    if constexpr (K::kGathers)
      fence_async();  // the producer's lanes have written here
    else if constexpr (K::kGradient)
      if (w.rows - block * kTileInner < kTileInner) clear_rows(features, w.rows - block * kTileInner, group);
    std::uint32_t a = descriptor(features),
                  b = descriptor(shared.stage(reader.turn.place) + 2 * K::kParts * kLoadBytes);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kTileInner / 16; ++k) {
      wgmma<T, kHead, kA, kB>(d, a, b, block > 0 || k > 0);
      if constexpr (kWidth > kHead)
        wgmma<T, kWidth - kHead, kA, kB>(d + kHead / 2, a, b + (kHead * 128 >> 4), block > 0 || k > 0);
      if constexpr (K::kParts == 2)
        wgmma<T, kWidth, kA, kB>(d + K::kSums / 2, a + (2 * kLoadBytes >> 4), b, block > 0 || k > 0);
      a += kStep<kA>, b += kStep<kB>;
      if (k == 0) {
        wgmma_commit();
        wgmma_wait<1>();
        if (reader.before != 0) release(reader.before);
        reader.before = shared.stage_empty(reader.turn.place);
        reader.turn.advance();
      } else if (k == 1) {
        reader.full = __all_sync(0xFFFFFFFFu,
                                 barrier_is_over(shared.stage_full(reader.turn.place), reader.turn.parity));
      }
    }
    wgmma_commit();
  }
}

/// The same for this tile's width.
template <class T, class K>
__device__ __forceinline__ void multiply_blocks(float (&d)[K::kSums], const Work& w, int width, int from,
                                                int to, const Shared<K::kRings>& shared,
                                                Reader<K::kRings>& reader, int group) {
  switch (width) {
#define MB_WIDTH(i)                                                                 \
  case i:                                                                           \
    if constexpr (i * kTokenStep <= K::kTokens)                                     \
      multiply_blocks<T, K, i * kTokenStep>(d, w, from, to, shared, reader, group); \
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
    MB_WIDTH(16);
    MB_WIDTH(17);
    MB_WIDTH(18);
#undef MB_WIDTH
  }
}

/// Sums a tile into d, and hands over what is left of the last one midway, not both warpgroups at the same time.
/// `read_next` is called once, when the last instructions are under way.
template <class T, class K, class Last, class ReadNext>
__device__ __forceinline__ void multiply(float (&d)[K::kSums], const Work& w, const Shared<K::kRings>& shared,
                                         Reader<K::kRings>& reader, int group, Last& last,
                                         ReadNext read_next) {
  const int width = __shfl_sync(0xFFFFFFFFu, max(1, ceil_div(w.tokens, kTokenStep)), 0),
            blocks = __shfl_sync(0xFFFFFFFFu, w.inner, 0);
  const int midway = max(1, (blocks + group) / 2);
#pragma unroll 1
  for (int from = 0, to = midway; from < blocks; from = to, to = blocks) {
    multiply_blocks<T, K>(d, w, width, from, to, shared, reader, group);
    last.finish();
  }
  read_next();
  last.make_room(w.tokens);
  wgmma_wait<0>();
  if (reader.before != 0) release(reader.before);
  reader.before = 0;
}

/// This thread's two features of a tile; of [gate | up] both parts. As stored: nobody waits for them yet.
template <class T, bool kGated>
__device__ void read_bias(const Sizes& s, const Work& w, int group, T (&bias)[2][2]) {
  if (!s.bias) return;
  const T* of = static_cast<const T*>(s.bias) +
                static_cast<std::int64_t>(w.expert) * (kGated ? 2 * s.features : s.features);
  const int first =
      w.feature + 64 * group + 16 * (static_cast<int>(threadIdx.x) % kGroupThreads / 32) + lane_of_warp() / 4;
#pragma unroll
  for (int part = 0; part < (kGated ? 2 : 1); ++part)
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (first + 8 * i < s.features) bias[part][i] = of[part * s.features + first + 8 * i];
}

/// By one warpgroup.
template <class T, class K>
__device__ __forceinline__ void consume(const Sizes& s, const Shared<K::kRings>& shared, int group) {
  Handover<T, K> last(shared, group);
  Reader<K::kRings> reader;
  Turn<kTasks> task;
  Work next = read_task(shared, task);
  float d[K::kSums];
  while (next.inner > 0) {
    const Work w = next;
    T bias[2][2] = {};
    if constexpr (K::kForm == Form::forward) read_bias<T, K::kGated>(s, w, group, bias);
    multiply<T, K>(d, w, shared, reader, group, last, [&] {
      task.advance();
      next = read_task(shared, task);
    });
    last.take(d, bias, w.tokens);
  }
  last.finish();
}

template <class T, class K>
__global__ void __launch_bounds__(kAllThreads, 1)
    grouped_kernel(const __grid_constant__ Tensors tensors, const __grid_constant__ Sizes s) {
  extern __shared__ char raw[];
  __shared__ float costs[kCandidates];
  const Shared<K::kRings> shared{(shared_address(raw) + 1023) & ~1023u};
  if (threadIdx.x == 0) {
    shared.init(K::kGathers ? 32 : 0);
    prefetch_map(&tensors.features);
    prefetch_map(&tensors.tokens);
  }
  wait_for_previous();
  const Walker<K> walk(s, costs);
  sync_cluster();
  // From one lane, so that the compiler knows all have the same: matrix descriptors come from uniform registers.
  const int warp = __shfl_sync(0xFFFFFFFFu, static_cast<int>(threadIdx.x) / 32, 0),
            spare = warp - kGroups * kGroupThreads / 32;
  if (spare >= 0) {
    give_registers<104>();
    if (spare == 0)
      produce<K>(tensors.features, tensors.tokens, s, shared, walk);
    else
      Epilogue<T, K>(tensors, s, shared).run(spare - 1);
  } else {
    take_registers<200>();
    consume<T, K>(s, shared, warp / (kGroupThreads / 32));
  }
  sync_cluster();  // other blocks may still write to, or arrive in, this one
}

class Sm90Multiplier final : public Multiplier {
 public:
  explicit Sm90Multiplier(Gpu& gpu) : gpu_(gpu) {
    MB_CUDA(cudaDeviceGetAttribute(&blocks_, cudaDevAttrMultiProcessorCount, gpu.device));
  }

  void run(const Product& p) override {
    if (p.out.size() == 0) return;
    if (rows_of(p) == 0) {
      if (p.form == Form::gradient) MB_CUDA(cudaMemsetAsync(p.out.data, 0, p.out.bytes(), gpu_.stream.get()));
      return;
    }
    with_variant(p, [&]<class T, Form kForm, After kAfter, Activation kActivation>() {
      const auto with_rings = [&]<Rings kRings>() {
        if constexpr (kAfter == After::activate && kActivation == Activation::swiglu)
          if (p.slot_of) return launch<T, Kind<kForm, kAfter, kActivation, kRings, true>>(p);
        if constexpr (kAfter == After::differentiate)
          if (p.dots) return launch<T, Kind<kForm, kAfter, kActivation, kRings, false, true>>(p);
        launch<T, Kind<kForm, kAfter, kActivation, kRings>>(p);
      };
      using Usual = Kind<kForm, kAfter, kActivation, Rings::usual>;
      if constexpr (Usual::kGradient) {
        if (sums_are_short(ceil_div(static_cast<int>(rows_of(p) / p.experts), kTileInner)))
          return with_rings.template operator()<Rings::short_sums>();
      } else if constexpr (!Usual::kGated) {
        if (tiles_are_wide(forecast(p))) return with_rings.template operator()<Rings::wide>();
      }
      with_rings.template operator()<Rings::usual>();
    });
  }

 private:
  /// Of all experts.
  static std::int64_t rows_of(const Product& p) {
    return p.form == Form::gradient ? p.left.rows : p.out.rows;
  }

  static std::int64_t columns_of(const Product& p) {
    return p.form == Form::transposed ? p.right.rows / p.experts : p.right.cols;
  }

  Forecast forecast(const Product& p) const {
    return {.rows = static_cast<float>(rows_of(p)) / static_cast<float>(p.experts),
            .experts = static_cast<int>(p.experts),
            .features = static_cast<int>(columns_of(p)),
            .inner = ceil_div(static_cast<int>(p.left.cols), kTileInner),
            .blocks = blocks_};
  }

  template <class T, class K>
  void launch(const Product& p) {
    constexpr bool kGradient = K::kGradient, kGated = K::kGated;
    const Sizes sizes{.offsets = p.offsets,
                      .experts = static_cast<int>(p.experts),
                      .features = static_cast<int>(kGated ? columns_of(p) / 2 : columns_of(p)),
                      .tokens = static_cast<int>(kGradient ? p.left.cols : 0),
                      .inner = static_cast<int>(kGradient ? 0 : p.left.cols),
                      .total_rows = static_cast<int>(rows_of(p)),
                      .bias = p.bias.data,
                      .out = p.out.data,
                      .pre = p.pre.data,
                      .out_cols = static_cast<int>(p.out.cols),
                      .pre_cols = static_cast<int>(p.pre.cols),
                      .by_token = p.left.data,
                      .token_cols = static_cast<int>(p.left.cols),
                      .top_k = static_cast<int>(p.top_k),
                      .slot_of = p.slot_of,
                      .dots = p.dots};
    constexpr int kBoxTokensHere = kBoxTokens<K::kParts>;
    const Tensors tensors{
        .features = map_of(p.right, {.stacked = kGradient ? 1 : p.experts}),
        .tokens = map_of(p.left, {.box_rows = kGradient ? 64 : 32}),
        .stored = K::kAfter == After::store
                      ? map_of(p.out, {.stacked = kGradient ? p.experts : 1, .box_rows = kBoxTokensHere})
                  : K::kAfter == After::activate && p.pre.data ? map_of(p.pre, {.box_rows = kBoxTokensHere})
                                                               : CUtensorMap{}};
    auto* const kernel = grouped_kernel<T, K>;
    MB_CUDA(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shared<K::kRings>::kBytes));
    const auto size =
        static_cast<unsigned>(K::kGathers ? cluster_of_own(sizes.total_rows / sizes.experts, K::kTokens)
                                          : cluster_of(sizes.features));
    cudaLaunchAttribute attributes[] = {{}, behind_previous()};
    attributes[0].id = cudaLaunchAttributeClusterDimension;
    attributes[0].val.clusterDim = {size, 1, 1};
    cudaLaunchConfig_t config{.gridDim = {size},
                              .blockDim = {kAllThreads},
                              .dynamicSmemBytes = Shared<K::kRings>::kBytes,
                              .stream = gpu_.stream.get(),
                              .attrs = attributes,
                              .numAttrs = 2};
    int& clusters = clusters_[size];
    if (clusters == 0) MB_CUDA(cudaOccupancyMaxActiveClusters(&clusters, kernel, &config));
    config.gridDim = {size * static_cast<unsigned>(clusters)};
    MB_CUDA(cudaLaunchKernelEx(&config, kernel, tensors, sizes));
  }

  Gpu& gpu_;
  int blocks_ = 0;        ///< that run at once
  int clusters_[5] = {};  ///< by their size: how many run at once, found at the first launch
};

}  // namespace

bool sm90_can(const Gpu& gpu, std::int64_t hidden, std::int64_t ffn) {
  const auto [major, minor] = capability_of(gpu.device);
  return major == 9 && minor == 0 && hidden % 8 == 0 && ffn % 8 == 0;
}

std::unique_ptr<Multiplier> make_sm90_multiplier(Gpu& gpu) { return std::make_unique<Sm90Multiplier>(gpu); }

}  // namespace moebench::cuda::grouped
