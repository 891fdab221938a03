// SPDX-License-Identifier: Apache-2.0
// Hopper's own instructions as functions: barriers in shared memory, the bulk tensor copy (TMA), the warpgroup's
// matrix product (wgmma), and 8x8 matrices between registers and shared memory. Source: PTX ISA 8.x.
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace moebench::cuda::grouped {

__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// Barriers: `count` arrivals and all announced bytes end a phase; phases alternate in parity.
__device__ inline void barrier_init(std::uint32_t barrier, unsigned count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count));
}
__device__ inline void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ inline void barrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ inline void barrier_expect(std::uint32_t barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
/// Returns when the phase of this parity is over.
__device__ inline void barrier_wait(std::uint32_t barrier, unsigned parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

/// Orders this thread's ordinary writes to shared memory before later reads by wgmma and TMA.
__device__ inline void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// A barrier of `threads` threads, apart from __syncthreads().
__device__ inline void sync_threads(int name, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(name), "r"(threads) : "memory");
}

__device__ inline void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
/// A box of the tensor at (x, y, z), x innermost; outside of the tensor it is zero. Its bytes count at `barrier`.
__device__ inline void load_box(std::uint32_t to, const CUtensorMap* map, std::uint32_t barrier, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z)
      : "memory");
}

template <int kRegisters>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// How an operand lies in shared memory, in boxes of 64 x 64 elements with rows of 128 bytes, swizzled: the inner
/// dimension of the product runs along the rows (inner), or down (outer).
enum class Major { inner, outer };

/// The matrix descriptor of an operand at a 1024-byte aligned box. Eight rows are 1024 bytes apart from the next
/// eight; boxes of 64 rows or columns follow each other 8192 bytes apart.
__device__ inline std::uint64_t descriptor(std::uint32_t address) {
  constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62, kGroup = std::uint64_t{1024 >> 4} << 32,
                          kBox = std::uint64_t{8192 >> 4} << 16;
  return kSwizzle128 | kGroup | kBox | ((address & 0x3FFFF) >> 4);
}
/// What moves a descriptor 16 elements along the inner dimension.
template <Major kMajor>
inline constexpr std::uint64_t kStep = (kMajor == Major::inner ? 32 : 16 * 128) >> 4;

__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

#define MB_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define MB_D16(i) MB_D4(i), MB_D4(i + 4), MB_D4(i + 8), MB_D4(i + 12)
#define MB_WGMMA(type)                                                                                             \
  asm volatile(                                                                                                    \
      "{\n"                                                                                                        \
      ".reg .pred add;\n"                                                                                          \
      "setp.ne.b32 add, %130, 0;\n"                                                                                \
      "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type                                                 \
      " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
      "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "   \
      "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, "   \
      "%65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, "   \
      "%86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, "  \
      "%106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, "      \
      "%123, %124, %125, %126, %127}, %128, %129, add, 1, 1, %131, %132;\n"                                         \
      "}\n"                                                                                                        \
      : MB_D16(0), MB_D16(16), MB_D16(32), MB_D16(48), MB_D16(64), MB_D16(80), MB_D16(96), MB_D16(112)             \
      : "l"(a), "l"(b), "r"(add), "n"(kA == Major::outer ? 1 : 0), "n"(kB == Major::outer ? 1 : 0))

/// d [64 x 256, fp32, spread over a warpgroup] = a [64 x 16] · b [16 x 256] (+ d if `add`).
template <class T, Major kA, Major kB>
__device__ inline void wgmma(float (&d)[128], std::uint64_t a, std::uint64_t b, int add) {
  if constexpr (std::is_same_v<T, __half>)
    MB_WGMMA("f16");
  else
    MB_WGMMA("bf16");
}
#undef MB_WGMMA
#undef MB_D16
#undef MB_D4

/// Four 8x8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
__device__ inline void store_matrices(std::uint32_t row, const unsigned (&words)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(words[0]), "r"(words[1]),
               "r"(words[2]), "r"(words[3])
               : "memory");
}
__device__ inline void load_matrices(std::uint32_t row, unsigned (&words)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(row)
               : "memory");
}

}  // namespace moebench::cuda::grouped
