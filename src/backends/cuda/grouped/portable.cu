// SPDX-License-Identifier: Apache-2.0
// Idea: each block multiplies one tile of 128 x 128 numbers of one expert's product, with the instructions that all GPUs
// from Ampere on have. Tiles are numbered without knowing the experts' rows: expert e owns the slots of 128 rows from
// offsets[e] / 128 + e on, which are enough and at most one too many; a block bisects the offsets for its expert, and
// returns if its slot lies beyond the expert's rows. Eight warps multiply 32 x 64 each; the operands pass through a ring
// of three stages of 32 along the sums, filled by copies that no thread waits for.
// Layout: operands as they are. A stage holds a tile of each with the order it has in memory, in units of 16 bytes that
// are permuted within their rows so that eight lanes meet no bank twice; ldmatrix turns over what runs the other way. What
// lies outside of the expert is zero in shared memory. Rows whose width is not a multiple of 8 are read by elements.
// Moves: per stage 16 KB from L2 for 2·128·128·32 operations; each operand once from memory if the band of tiles under
// way fits into L2. Floor: FLOPs over the tensor cores' rate.
#include "backends/cuda/grouped/ampere.cuh"
#include "backends/cuda/grouped/product.h"
#include "backends/cuda/grouped/schedule.h"
#include "backends/cuda/grouped/variant.cuh"
#include "backends/cuda/stages/activation.cuh"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda::grouped {
namespace {

constexpr int kSide = 128, kDepth = 32, kStages = 3;
constexpr int kTileUnits = kSide * kDepth / 8, kSharedBytes = kStages * 2 * kTileUnits * 16;
static_assert(kSharedBytes <= 48 * 1024, "what a block may have unasked");

/// A product as the kernel sees it; widths of all tensors follow from these.
struct Sizes {
  const std::int32_t* offsets;
  int experts, slots;
  int rows;      ///< `gradient`: rows of the product, per expert
  int features;  ///< columns of the product, for SwiGLU's first those of the gate
  int inner;     ///< `forward` and `transposed`: length of the sums
  const void *left, *right, *bias;
  void *out, *pre;
};

/// SwiGLU's first product: columns of a tile are 64 of the gate and the 64 of the up of the same features.
template <After kAfter, Activation kActivation>
inline constexpr int kParts = (kAfter == After::activate) && (kActivation == Activation::swiglu) ? 2 : 1;

/// How a tile lies: the inner dimension of the product runs along its rows of 32 (inner), or down its rows of 128 (outer).
enum class Major { inner, outer };

/// Where unit `unit` of a row lies in a tile. Eight rows' units of one number fall into different eighths of the banks.
template <Major kMajor>
__device__ int place_in_tile(int row, int unit) {
  if constexpr (kMajor == Major::inner) return row * (kDepth / 8) + (unit ^ (row / 2 % 4));
  return row * (kSide / 8) + (unit ^ (row % 8));
}

/// One side of an expert's product in memory.
template <class T, int N, Major kMajor, int kParts = 1>
struct Operand {
  const T* from;
  int stride;        ///< of rows, in elements
  int outer, inner;  ///< how many there are; with two parts the second begins `outer` behind the first

  /// Begins to fill a tile with all that lies from [first_outer, first_inner] on. By all threads of the block.
  __device__ __forceinline__ void load(uint4* tile, int first_outer, int first_inner) const {
    constexpr int kUnits = (kMajor == Major::inner ? kDepth : kSide) / 8, kPartSide = kSide / kParts;
    int thread = static_cast<int>(threadIdx.x);
    asm volatile(
        ""
        : "+r"(thread));  // addresses are worked out again for each tile: the sums need the registers
#pragma unroll
    for (int i = 0; i < kTileUnits / kThreads; ++i) {
      const int index = thread + i * kThreads, row = index / kUnits, col = index % kUnits * 8;
      std::int64_t at;
      int valid;  // elements from here on in this row, none if below 1
      if constexpr (kMajor == Major::inner) {
        at = std::int64_t{first_outer + row} * stride + first_inner + col;
        valid = first_outer + row < outer ? inner - first_inner - col : 0;
      } else {
        const int side = first_outer + col % kPartSide;
        at = std::int64_t{first_inner + row} * stride + col / kPartSide * outer + side;
        valid = first_inner + row < inner ? outer - side : 0;
      }
      uint4* const to = tile + place_in_tile<kMajor>(row, col / 8);
      if constexpr (N > 1)
        copy_async(to, from + (valid > 0 ? at : 0), valid > 0 ? 16 : 0);
      else
        *to = gathered(from + at, valid);
    }
  }

 private:
  static __device__ uint4 gathered(const T* elements, int valid) {
    const auto* const bits = reinterpret_cast<const std::uint16_t*>(elements);
    unsigned words[4] = {};
#pragma unroll
    for (int n = 0; n < 8; ++n)
      if (n < valid) words[n / 2] |= static_cast<unsigned>(bits[n]) << (n % 2 * 16);
    return {words[0], words[1], words[2], words[3]};
  }
};

/// 16 of the outer dimension by 16 of the inner: words 0 and 1 are the first 8 inner ones of the first and second 8 outer
/// ones, words 2 and 3 the second. As `a` of mma; of words 0 and 2, and of 1 and 3, as `b`.
template <Major kMajor>
__device__ __forceinline__ void fragment(const uint4* tile, int outer, int inner, unsigned (&words)[4]) {
  const int lane = lane_of_warp(), row = lane % 8, second = lane / 8 % 2, deeper = lane / 16;
  if constexpr (kMajor == Major::inner)
    load_fragment<false>(tile + place_in_tile<kMajor>(outer + 8 * second + row, inner / 8 + deeper), words);
  else
    load_fragment<true>(tile + place_in_tile<kMajor>(inner + 8 * deeper + row, outer / 8 + second), words);
}

/// The place of this thread's warp in the tile: rows [row, row + 32), columns [col, col + 32) and [64 + col, 96 + col), so
/// that a warp has gate and up of the same features.
struct Warp {
  int row = static_cast<int>(threadIdx.x) / 32 % 4 * 32, col = static_cast<int>(threadIdx.x) / 128 * 32;
};
/// Of the eight blocks of 8 columns, the first column of one.
__device__ constexpr int block_col(int block) { return block / 4 * 64 + block % 4 * 8; }

/// [rows of 16][columns of 8] as mma has them.
using Sums = float[2][8][4];

/// Adds the product of two tiles.
template <class T, Major kLeft, Major kRight>
__device__ __forceinline__ void multiply(const uint4* left, const uint4* right, Sums& sums) {
  const Warp warp;
#pragma unroll
  for (int k = 0; k < kDepth; k += 16) {
    unsigned a[2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i) fragment<kLeft>(left, warp.row + 16 * i, k, a[i]);
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      unsigned b[4];
      fragment<kRight>(right, warp.col + block_col(j), k, b);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        mma<T>(sums[i][j], a[i], b[0], b[2]);
        mma<T>(sums[i][j + 1], a[i], b[1], b[3]);
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

/// What follows a product: `value` is that of two features of a row, of every part.
template <class T, int N, After kAfter, Activation kActivation>
__device__ __forceinline__ void finish(const Sizes& s, std::int64_t row, int feature,
                                       const float2 (&value)[kParts<kAfter, kActivation>]) {
  using A = Act<Functions<T>, kActivation>;
  constexpr int kInputs = A::kInputs;
  const bool both = feature + 1 < s.features;
  const std::int64_t at = row * s.features + feature, at_inputs = row * kInputs * s.features + feature;
  if constexpr (kAfter == After::store) {
    put<T, N>(s.out, at, both, value[0]);
  } else if constexpr (kAfter == After::activate) {
    float low[kInputs], high[kInputs];  // as backward will read them
#pragma unroll
    for (int i = 0; i < kInputs; ++i) {
      low[i] = to_float(rounded<T>(value[i].x)), high[i] = to_float(rounded<T>(value[i].y));
      if (s.pre) put<T, N>(s.pre, at_inputs + i * s.features, both, {low[i], high[i]});
    }
    put<T, N>(s.out, at, both, {A::forward(low), A::forward(high)});
  } else {
    float low[kInputs], high[kInputs], of_low[kInputs], of_high[kInputs];
#pragma unroll
    for (int i = 0; i < kInputs; ++i) {
      const float2 in = get<T, N>(s.pre, at_inputs + i * s.features, both);
      low[i] = in.x, high[i] = in.y;
    }
    A::backward(value[0].x, low, of_low);
    A::backward(value[0].y, high, of_high);
#pragma unroll
    for (int i = 0; i < kInputs; ++i)
      put<T, N>(s.out, at_inputs + i * s.features, both, {of_low[i], of_high[i]});
  }
}

/// A block's tile: from [row, feature] on in the product of an expert.
struct Work {
  int expert, begin, count;  ///< the expert's rows: where they begin, how many there are
  int row, rows, feature;    ///< rows: of the product
};

template <Form kForm>
__device__ Work find(const Sizes& s, int slot, int feature) {
  Work w{.feature = feature};
  if constexpr (kForm == Form::gradient) {
    const int each = ceil_div(s.rows, kSide);
    w.expert = slot / each, w.row = slot % each * kSide;
  } else {
    const int first = s.offsets[0];
    const auto slot_of = [&](int expert) { return (s.offsets[expert] - first) / kSide + expert; };
    int low = 0, high = s.experts;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (slot_of(middle) <= slot ? low : high) = middle;
    }
    w.expert = low, w.row = (slot - slot_of(low)) * kSide;
  }
  w.begin = s.offsets[w.expert], w.count = s.offsets[w.expert + 1] - w.begin;
  w.rows = kForm == Form::gradient ? s.rows : w.count;
  return w;
}

/// Hands this thread's sums to finish(), two features at a time.
template <class T, int N, Form kForm, After kAfter, Activation kActivation>
__device__ __forceinline__ void finish_tile(const Sizes& s, const Work& w, const Sums& sums) {
  constexpr int kParts = grouped::kParts<kAfter, kActivation>;
  const Warp warp;
  const int lane = lane_of_warp();
  const std::int64_t first = kForm == Form::gradient ? std::int64_t{w.expert} * s.rows : w.begin;
#pragma unroll
  for (int j = 0; j < 8 / kParts; ++j) {
    const int feature = w.feature + warp.col + block_col(j) + 2 * (lane % 4);
    if (feature >= s.features) continue;
    float2 bias[kParts] = {};
    if (s.bias) {
      const std::int64_t at = std::int64_t{w.expert} * kParts * s.features + feature;
      for (int part = 0; part < kParts; ++part)
        bias[part] = get<T, N>(s.bias, at + part * s.features, feature + 1 < s.features);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = w.row + warp.row + 8 * i + lane / 4;
      if (row >= w.rows) continue;
      float2 value[kParts];
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        const auto& of = sums[i / 2][j + 4 * part];
        value[part] = {of[i % 2 * 2] + bias[part].x, of[i % 2 * 2 + 1] + bias[part].y};
      }
      finish<T, N, kAfter, kActivation>(s, first + row, feature, value);
    }
  }
}

/// N: elements in one access of the operands, 8 or 1.
template <class T, int N, Form kForm, After kAfter, Activation kActivation>
__global__ void __launch_bounds__(kThreads, 2) portable_kernel(const Sizes s) {
  constexpr int kParts = grouped::kParts<kAfter, kActivation>, kFeatures = kSide / kParts;
  constexpr bool kGradient = kForm == Form::gradient, kTransposed = kForm == Form::transposed;
  constexpr Major kLeft = kGradient ? Major::outer : Major::inner,
                  kRight = kTransposed ? Major::inner : Major::outer;
  extern __shared__ uint4 stages[];
  const Place place = place_of(static_cast<int>(blockIdx.x), s.slots, ceil_div(s.features, kFeatures));
  const Work w = find<kForm>(s, place.tokens, place.features * kFeatures);
  if (w.row >= w.rows) return;

  const int inner = kGradient ? w.count : s.inner, blocks = ceil_div(inner, kDepth);
  const int left_cols = kGradient ? s.rows : s.inner,
            right_cols = kTransposed ? s.inner : kParts * s.features;
  const std::int64_t left_row = w.begin,
                     weights = std::int64_t{w.expert} * (kTransposed ? s.features : s.inner);
  const std::int64_t right_row = kGradient ? w.begin : weights;
  const Operand<T, N, kLeft> left{static_cast<const T*>(s.left) + left_row * left_cols, left_cols, w.rows,
                                  inner};
  const Operand<T, N, kRight, kParts> right{static_cast<const T*>(s.right) + right_row * right_cols,
                                            right_cols, s.features, inner};
  const auto load = [&](int block) {
    if (block < blocks) {
      uint4* const stage = stages + block % kStages * 2 * kTileUnits;
      left.load(stage, w.row, block * kDepth);
      right.load(stage + kTileUnits, w.feature, block * kDepth);
    }
    copies_commit();  // empty beyond the last block, so that waits can count
  };

  Sums sums = {};
#pragma unroll 1
  for (int block = 1 - kStages; block < blocks; ++block) {  // below 0 it only loads
    if (block >= 0) {
      copies_wait<kStages - 2>();
      __syncthreads();  // this stage is full for all, and nobody reads the one before it any more
    }
    load(block + kStages - 1);
    if (block < 0) continue;
    const uint4* const stage = stages + block % kStages * 2 * kTileUnits;
    multiply<T, kLeft, kRight>(stage, stage + kTileUnits, sums);
  }
  finish_tile<T, N, kForm, kAfter, kActivation>(s, w, sums);
}

class PortableMultiplier final : public Multiplier {
 public:
  explicit PortableMultiplier(Gpu& gpu) : gpu_(gpu) {}

  void run(const Product& p) override {
    if (p.out.size() == 0) return;
    with_variant(p, [&]<class T, Form kForm, After kAfter, Activation kActivation>() {
      launch<T, kForm, kAfter, kActivation>(p);
    });
  }

 private:
  template <class T, Form kForm, After kAfter, Activation kActivation>
  void launch(const Product& p) {
    constexpr int kParts = grouped::kParts<kAfter, kActivation>;
    constexpr bool kGradient = kForm == Form::gradient;
    const std::int64_t features =
        kForm == Form::transposed ? p.right.rows / p.experts : p.right.cols / kParts;
    const std::int64_t slots =
        kGradient ? p.experts * blocks_for(p.left.cols, kSide) : p.left.rows / kSide + p.experts;
    const Sizes sizes{.offsets = p.offsets,
                      .experts = static_cast<int>(p.experts),
                      .slots = static_cast<int>(slots),
                      .rows = static_cast<int>(p.left.cols),
                      .features = static_cast<int>(features),
                      .inner = static_cast<int>(p.left.cols),
                      .left = p.left.data,
                      .right = p.right.data,
                      .bias = p.bias.data,
                      .out = p.out.data,
                      .pre = p.pre.data};
    bool wide = p.left.cols % 8 == 0 && p.right.cols % 8 == 0 && features % 8 == 0;
    for (const void* data : {sizes.left, sizes.right, sizes.bias}) wide = wide && is_aligned(data);
    wide = wide && is_aligned(p.out.data) && is_aligned(p.pre.data);
    const unsigned blocks = grid(slots * blocks_for(features, kSide / kParts));
    const cudaStream_t stream = gpu_.stream.get();
    if (wide)
      portable_kernel<T, 8, kForm, kAfter, kActivation><<<blocks, kThreads, kSharedBytes, stream>>>(sizes);
    else
      portable_kernel<T, 1, kForm, kAfter, kActivation><<<blocks, kThreads, kSharedBytes, stream>>>(sizes);
    check_launch("portable_kernel");
  }

  Gpu& gpu_;
};

}  // namespace

std::unique_ptr<Multiplier> make_portable_multiplier(Gpu& gpu) {
  return std::make_unique<PortableMultiplier>(gpu);
}

}  // namespace moebench::cuda::grouped
