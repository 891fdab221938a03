// SPDX-License-Identifier: Apache-2.0
// Elements as they are stored, and the fp32 numbers they stand for: 16 bytes at a time where width and
// pointers allow, else one by one. And the choice between the two.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <initializer_list>

#include "backends/cuda/runtime/check.h"
#include "base/error.h"
#include "base/tensor.h"

namespace moebench::cuda {

/// Elements of T in one 16-byte access.
template <class T>
inline constexpr int kWide = 16 / static_cast<int>(sizeof(T));

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ inline float to_float(__half value) { return __half2float(value); }

template <class T>
__device__ inline T rounded(float value) {
  if constexpr (sizeof(T) == 4)
    return value;
  else if constexpr (std::is_same_v<T, __half>)
    return __float2half_rn(value);
  else
    return __float2bfloat16_rn(value);
}

/// Two 16-bit elements in one word, the first in the low half.
template <class T>
__device__ inline float2 unpacked(unsigned word) {
  if constexpr (std::is_same_v<T, __half>)
    return __half22float2(*reinterpret_cast<const __half2*>(&word));
  else
    return {__uint_as_float(word << 16), __uint_as_float(word & 0xFFFF0000u)};
}
template <class T>
__device__ inline unsigned packed(float low, float high) {
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const unsigned*>(&pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const unsigned*>(&pair);
  }
}

/// What one access reads, still as stored: loads are issued together and unpacked when they are needed.
template <class T, int N>
struct Raw {
  uint4 words;
};
template <class T>
struct Raw<T, 1> {
  T word;
};

template <class T, int N>
__device__ inline Raw<T, N> load(const T* from) {
  if constexpr (N == 1)
    return {*from};
  else
    return {*reinterpret_cast<const uint4*>(from)};
}

template <class T, int N>
__device__ inline void unpack(const Raw<T, N>& raw, float (&to)[N]) {
  if constexpr (N == 1) {
    to[0] = to_float(raw.word);
  } else {
    static_assert(N == kWide<T>);
    const unsigned words[4] = {raw.words.x, raw.words.y, raw.words.z, raw.words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(T) == 4) {
        to[i] = __uint_as_float(words[i]);
      } else {
        const float2 pair = unpacked<T>(words[i]);
        to[2 * i] = pair.x, to[2 * i + 1] = pair.y;
      }
    }
  }
}

template <class T, int N>
__device__ inline void store(T* to, const float (&from)[N]) {
  if constexpr (N == 1) {
    *to = rounded<T>(from[0]);
  } else {
    unsigned words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(T) == 4)
        words[i] = __float_as_uint(from[i]);
      else
        words[i] = packed<T>(from[2 * i], from[2 * i + 1]);
    }
    // A plain assignment is split into four narrow stores by the compiler in some loops.
    __stwb(reinterpret_cast<uint4*>(to), make_uint4(words[0], words[1], words[2], words[3]));
  }
}

/// Σ over the warp in a fixed order; the same bits in every lane.
__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, lane);
  return value;
}

// Kernels of rows give each row to one warp.
inline constexpr int kWarps = 8, kThreads = 32 * kWarps;

template <int kBlockWarps = kWarps>
__device__ inline std::int64_t warp_of_grid() {
  return static_cast<std::int64_t>(blockIdx.x) * kBlockWarps + static_cast<int>(threadIdx.x) / 32;
}
__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x) % 32; }

inline std::int64_t blocks_for(std::int64_t items, std::int64_t items_per_block) {
  return (items + items_per_block - 1) / items_per_block;
}
/// A grid of `blocks` along x.
inline unsigned grid(std::int64_t blocks) {
  MB_ASSERT(blocks > 0 && blocks <= 0x7FFFFFFF);
  return static_cast<unsigned>(blocks);
}

/// work.operator()<T>() with T as stored.
template <class Work>
void with_storage(DType dtype, Work work) {
  switch (dtype) {
    case DType::fp32:
    case DType::tf32:
      return work.template operator()<float>();
    case DType::bf16:
      return work.template operator()<__nv_bfloat16>();
    case DType::fp16:
      return work.template operator()<__half>();
  }
}

inline bool is_aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

/// work.operator()<T, N>(): N elements per access, 16 bytes if rows of `cols` elements at these addresses
/// allow it.
template <class Work>
void with_access(DType dtype, std::int64_t cols, std::initializer_list<const void*> rows, Work work) {
  bool wide = cols * static_cast<std::int64_t>(size_of(dtype)) % 16 == 0;
  for (const void* pointer : rows) wide = wide && is_aligned(pointer);
  with_storage(dtype, [&]<class T>() {
    if (wide)
      work.template operator()<T, kWide<T>>();
    else
      work.template operator()<T, 1>();
  });
}

}  // namespace moebench::cuda
