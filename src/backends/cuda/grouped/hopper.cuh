// SPDX-License-Identifier: Apache-2.0
// Hopper's own instructions as functions: barriers in shared memory, the bulk tensor copy (TMA), the
// warpgroup's matrix product (wgmma), and 8x8 matrices between registers and shared memory. Source: PTX
// ISA 8.x.
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
__device__ inline void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void barrier_expect(std::uint32_t barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
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

/// Whether the phase of this parity is over.
__device__ inline bool barrier_is_over(std::uint32_t barrier, unsigned parity) {
  unsigned over;
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "mbarrier.test_wait.parity.shared::cta.b64 done, [%1], %2;\n"
      "selp.u32 %0, 1, 0, done;\n"
      "}\n"
      : "=r"(over)
      : "r"(barrier), "r"(parity)
      : "memory");
  return over != 0;
}
__device__ inline void barrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// Arrives when the copies (cp.async) that this thread has begun are done.
__device__ inline void barrier_arrive_after_copies(std::uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

/// This block's place in its cluster.
__device__ inline unsigned cluster_rank() {
  unsigned rank;
  asm("mov.u32 %0, %cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ inline unsigned cluster_size() {
  unsigned size;
  asm("mov.u32 %0, %cluster_nctarank;" : "=r"(size));
  return size;
}
/// Returns when all threads of the cluster are here.
__device__ inline void sync_cluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
/// Arrives at the barrier that lies at the same place in block `rank` of the cluster.
__device__ inline void barrier_arrive_at(std::uint32_t barrier, unsigned rank) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}\n" ::"r"(barrier),
      "r"(rank)
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
/// A box of the tensor at (x, y, z), x innermost; outside of the tensor it is zero. Its bytes count at
/// `barrier`.
__device__ inline void load_box(std::uint32_t to, const CUtensorMap* map, std::uint32_t barrier, int x, int y,
                                int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(to),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z)
      : "memory");
}

/// The same, written at the same place of all blocks of the cluster in `mask` and counted at the barrier
/// there.
__device__ inline void load_box_for_all(std::uint32_t to, const CUtensorMap* map, std::uint32_t barrier,
                                        int x, int y, int z, unsigned mask) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%3, %4, "
      "%5}], [%2], %6;" ::"r"(to),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "h"(static_cast<std::uint16_t>(mask))
      : "memory");
}

/// Begins to store a box at (x, y, z); what is outside of the tensor is not stored. Other threads' writes to
/// `from` come before by fence_async() in them and a barrier.
__device__ inline void store_box(const CUtensorMap* map, std::uint32_t from, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
               "r"(from), "r"(x), "r"(y), "r"(z)
               : "memory");
}
/// Groups the stores that this thread has begun.
__device__ inline void commit_copies() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/// Until what all but the last kPending groups store has been read from shared memory.
template <int kPending>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

template <int kRegisters>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// How an operand lies in shared memory, in boxes of 64 x 64 elements with rows of 128 bytes, swizzled: the
/// inner dimension of the product runs along the rows (inner), or down (outer).
enum class Major { inner, outer };

/// The matrix descriptor of an operand at a 1024-byte aligned box. Eight rows are 1024 bytes apart from the
/// next eight; boxes of 64 rows or columns follow each other 8192 bytes apart. Only the low half depends on
/// the address.
__device__ inline std::uint32_t descriptor(std::uint32_t address) {
  constexpr std::uint32_t kBox = std::uint32_t{8192 >> 4} << 16;
  return kBox | ((address & 0x3FFFF) >> 4);
}
__device__ inline std::uint64_t whole_descriptor(std::uint32_t low) {
  constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62, kGroup = std::uint64_t{1024 >> 4} << 32;
  return kSwizzle128 | kGroup | low;
}
/// What moves a descriptor 16 elements along the inner dimension.
template <Major kMajor>
inline constexpr std::uint32_t kStep = (kMajor == Major::inner ? 32 : 16 * 128) >> 4;

__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

__device__ inline uint4 load_shared(std::uint32_t from) {
  uint4 words;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
               : "r"(from)
               : "memory");
  return words;
}
__device__ inline void store_shared(std::uint32_t to, const uint4& words) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(words.x), "r"(words.y), "r"(words.z),
               "r"(words.w)
               : "memory");
}

/// Four 8x8 matrices of 16-bit elements, transposed on the way; lane l gives the address of row l % 8 of
/// matrix l / 8.
__device__ inline void store_matrices(std::uint32_t row, const unsigned (&words)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row),
               "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3])
               : "memory");
}

}  // namespace moebench::cuda::grouped
