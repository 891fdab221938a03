// SPDX-License-Identifier: Apache-2.0
// Hopper's instructions as functions: barriers in shared memory (mbarrier), the bulk tensor copy (TMA), what
// surrounds wgmma (wgmma.cuh has it), and 8x8 matrices from registers to shared memory (stmatrix). Source: PTX ISA
// 8.x. Addresses in shared memory are 32-bit, as PTX has them.
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "backends/cuda/ptx/major.h"

namespace moebench::cuda::ptx {

__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// mbarrier: a phase ends after `count` arrivals and all announced bytes; the parity of the phase alternates.
__device__ inline void mbarrier_init(std::uint32_t barrier, unsigned count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count));
}
__device__ inline void mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void mbarrier_arrive_expect_tx(std::uint32_t barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
/// Returns when the phase of this parity is over.
__device__ inline void mbarrier_wait(std::uint32_t barrier, unsigned parity) {
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
__device__ inline bool mbarrier_test_wait(std::uint32_t barrier, unsigned parity) {
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
__device__ inline void mbarrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// Arrives when the copies (cp.async) that this thread has started are done.
__device__ inline void mbarrier_arrive_after_cp_async(std::uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

/// This block's rank in its cluster.
__device__ inline unsigned cta_rank() {
  unsigned rank;
  asm("mov.u32 %0, %cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ inline unsigned cluster_size() {
  unsigned size;
  asm("mov.u32 %0, %cluster_nctarank;" : "=r"(size));
  return size;
}
/// Barrier of all threads of the cluster.
__device__ inline void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
/// Arrives at the mbarrier at the same address in block `rank` of the cluster.
__device__ inline void mbarrier_arrive_cluster(std::uint32_t barrier, unsigned rank) {
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
__device__ inline void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// A barrier of `threads` threads, apart from __syncthreads().
__device__ inline void named_barrier_sync(int name, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(name), "r"(threads) : "memory");
}

__device__ inline void prefetch_tensor_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
/// TMA: starts to load a box of the tensor at (x, y, z), x innermost, to shared memory; outside of the tensor it is
/// zero. Its bytes count at mbarrier `barrier`.
__device__ inline void tma_load(std::uint32_t to, const CUtensorMap* map, std::uint32_t barrier, int x, int y,
                                int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(to),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z)
      : "memory");
}

/// The same, written to the same address in every block of the cluster whose bit is set in `mask`, and counted at the
/// mbarrier there.
__device__ inline void tma_load_multicast(std::uint32_t to, const CUtensorMap* map, std::uint32_t barrier,
                                          int x, int y, int z, unsigned mask) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%3, %4, "
      "%5}], [%2], %6;" ::"r"(to),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "h"(static_cast<std::uint16_t>(mask))
      : "memory");
}

/// TMA: starts to store a box at (x, y, z); what is outside of the tensor is not stored. Other threads that wrote to
/// `from` must have called fence_proxy_async() and passed a barrier.
__device__ inline void tma_store(const CUtensorMap* map, std::uint32_t from, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
               "r"(from), "r"(x), "r"(y), "r"(z)
               : "memory");
}
/// Makes a group of the stores that this thread has started.
__device__ inline void tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/// Waits until all groups but the last kPending have been read from shared memory.
template <int kPending>
__device__ inline void tma_store_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

template <int kRegisters>
__device__ inline void warpgroup_reg_alloc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void warpgroup_reg_dealloc() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// The low half of the matrix descriptor of an operand in shared memory: tiles of 64 x 64 16-bit elements, aligned to
/// 1024 bytes, in rows of 128 bytes, swizzled (128B). The next eight rows are 1024 bytes further, the next tile of 64
/// rows or columns 8192. Only the low half depends on the address.
__device__ inline std::uint32_t descriptor_low(std::uint32_t address) {
  constexpr std::uint32_t kNextTile = std::uint32_t{8192 >> 4} << 16;
  return kNextTile | ((address & 0x3FFFF) >> 4);
}
__device__ inline std::uint64_t descriptor(std::uint32_t low) {
  constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62,
                          kNextEightRows = std::uint64_t{1024 >> 4} << 32;
  return kSwizzle128 | kNextEightRows | low;
}
/// What moves a descriptor 16 elements along K.
template <Major kMajor>
inline constexpr std::uint32_t kDescriptorStep = (kMajor == Major::k ? 32 : 16 * 128) >> 4;

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
__device__ inline void stmatrix_x4_trans(std::uint32_t row, const unsigned (&words)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row),
               "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3])
               : "memory");
}

}  // namespace moebench::cuda::ptx
