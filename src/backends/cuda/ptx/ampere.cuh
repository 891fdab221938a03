// SPDX-License-Identifier: Apache-2.0
// Ampere's instructions as functions: the asynchronous copy to shared memory (cp.async), 8x8 matrices from shared
// memory to registers (ldmatrix), and the matrix product of a warp (mma.sync). Source: PTX ISA 7.0.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace moebench::cuda::ptx {

/// Copies 16 bytes of which the first `bytes` are read, and the others zero; both ends aligned to 16.
__device__ inline void cp_async(std::uint32_t to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__device__ inline void cp_async(uint4* to, const void* from, int bytes) {
  cp_async(static_cast<std::uint32_t>(__cvta_generic_to_shared(to)), from, bytes);
}
/// Copies 4 bytes, or zeroes them if `bytes` is 0.
__device__ inline void cp_async_word(float* to, const void* from, int bytes) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(
                   static_cast<std::uint32_t>(__cvta_generic_to_shared(to))),
               "l"(from), "r"(bytes)
               : "memory");
}
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits for all of this thread's copies except those of its last kPending commits.
template <int kPending>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/// Four 8x8 matrices of 16-bit elements: lane l gives row l % 8 of matrix l / 8, and word i becomes elements 2·(l %
/// 4) and the next of row l / 4 of matrix i; if kTransposed, of column l / 4.
template <bool kTransposed>
__device__ inline void ldmatrix_x4(const uint4* row, unsigned (&words)[4]) {
  const auto at = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(at)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(at)
                 : "memory");
}

/// d [16, 8] += a [16, 16] · b [16, 8]. Of lane l, with g = l / 4 and t = 2·(l % 4):
///   a   word 0: row g, columns t and t + 1; word 1: row g + 8; words 2, 3: the same with columns t + 8 and t + 9
///   b   low: rows t and t + 1 of column g; high: rows t + 8 and t + 9
///   d   0, 1: row g, columns t and t + 1; 2, 3: row g + 8
template <class T>
__device__ inline void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned low, unsigned high) {
  if constexpr (std::is_same_v<T, __half>)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(low), "r"(high));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(low), "r"(high));
}

/// The nearest TF32 number (10 bits behind the point), ties away from zero, as the bits of an fp32.
__device__ inline unsigned to_tf32(float value) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

/// d [16, 8] += a [16, 8] · b [8, 8] in TF32. Of lane l, with g = l / 4 and t = l % 4:
///   a   words 0, 1: rows g and g + 8 of column t; 2, 3: the same of column t + 4
///   b   low, high: rows t and t + 4 of column g
///   d   0, 1: row g, columns 2·t and 2·t + 1; 2, 3: row g + 8
__device__ inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], unsigned low, unsigned high) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(low), "r"(high));
}

}  // namespace moebench::cuda::ptx
