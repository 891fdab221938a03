// SPDX-License-Identifier: Apache-2.0
// The warpgroup's matrix product, wgmma, for every width that a tile can have. Source: PTX ISA 8.x, wgmma.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "backends/cuda/grouped/hopper.cuh"

namespace moebench::cuda::grouped {

// An instruction of width N names N / 2 accumulators: lists of 8, 16, … 128 of them, as text and as operands.
#define MB_T1 "%0, %1, %2, %3, %4, %5, %6, %7"
#define MB_T2 MB_T1 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define MB_T3 MB_T2 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define MB_T4 MB_T3 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define MB_T5 MB_T4 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define MB_T6 MB_T5 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define MB_T7 MB_T6 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define MB_T8 MB_T7 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define MB_T9 MB_T8 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define MB_T10 MB_T9 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define MB_T11 MB_T10 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define MB_T12 MB_T11 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define MB_T13 MB_T12 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define MB_T14 MB_T13 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define MB_T15 MB_T14 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define MB_T16 MB_T15 ", %120, %121, %122, %123, %124, %125, %126, %127"
#define MB_EIGHT(i)                                                                           \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define MB_R1 MB_EIGHT(0)
#define MB_R2 MB_R1, MB_EIGHT(8)
#define MB_R3 MB_R2, MB_EIGHT(16)
#define MB_R4 MB_R3, MB_EIGHT(24)
#define MB_R5 MB_R4, MB_EIGHT(32)
#define MB_R6 MB_R5, MB_EIGHT(40)
#define MB_R7 MB_R6, MB_EIGHT(48)
#define MB_R8 MB_R7, MB_EIGHT(56)
#define MB_R9 MB_R8, MB_EIGHT(64)
#define MB_R10 MB_R9, MB_EIGHT(72)
#define MB_R11 MB_R10, MB_EIGHT(80)
#define MB_R12 MB_R11, MB_EIGHT(88)
#define MB_R13 MB_R12, MB_EIGHT(96)
#define MB_R14 MB_R13, MB_EIGHT(104)
#define MB_R15 MB_R14, MB_EIGHT(112)
#define MB_R16 MB_R15, MB_EIGHT(120)

#define MB_WGMMA(type, width, list, a_at, b_at, add_at, ta_at, tb_at, ...)                        \
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" add_at                                    \
               ", 0;\nwgmma.mma_async.sync.aligned.m64n" width "k16.f32." type "." type " {" list \
               "}, %" a_at ", %" b_at ", add, 1, 1, %" ta_at ", %" tb_at ";\n}\n"                 \
               : __VA_ARGS__                                                                      \
               : "l"(whole_descriptor(a)), "l"(whole_descriptor(b)), "r"(add),                    \
                 "n"(kA == Major::outer ? 1 : 0), "n"(kB == Major::outer ? 1 : 0))
#define MB_CASE(n, width, list, i0, i1, i2, i3, i4, ...)           \
  if constexpr (kWidth == n && std::is_same_v<T, __half>)          \
    MB_WGMMA("f16", width, list, i0, i1, i2, i3, i4, __VA_ARGS__); \
  else if constexpr (kWidth == n)                                  \
  MB_WGMMA("bf16", width, list, i0, i1, i2, i3, i4, __VA_ARGS__)

/// d [64 x kWidth, fp32, spread over a warpgroup] = a [64 x 16] · b [16 x kWidth] (+ d if `add`).
template <class T, int kWidth, Major kA, Major kB>
__device__ inline void wgmma(float* d, std::uint32_t a, std::uint32_t b, int add) {
  static_assert(kWidth % 16 == 0 && kWidth >= 16 && kWidth <= 256);
  MB_CASE(16, "16", MB_T1, "8", "9", "10", "11", "12", MB_R1);
  MB_CASE(32, "32", MB_T2, "16", "17", "18", "19", "20", MB_R2);
  MB_CASE(48, "48", MB_T3, "24", "25", "26", "27", "28", MB_R3);
  MB_CASE(64, "64", MB_T4, "32", "33", "34", "35", "36", MB_R4);
  MB_CASE(80, "80", MB_T5, "40", "41", "42", "43", "44", MB_R5);
  MB_CASE(96, "96", MB_T6, "48", "49", "50", "51", "52", MB_R6);
  MB_CASE(112, "112", MB_T7, "56", "57", "58", "59", "60", MB_R7);
  MB_CASE(128, "128", MB_T8, "64", "65", "66", "67", "68", MB_R8);
  MB_CASE(144, "144", MB_T9, "72", "73", "74", "75", "76", MB_R9);
  MB_CASE(160, "160", MB_T10, "80", "81", "82", "83", "84", MB_R10);
  MB_CASE(176, "176", MB_T11, "88", "89", "90", "91", "92", MB_R11);
  MB_CASE(192, "192", MB_T12, "96", "97", "98", "99", "100", MB_R12);
  MB_CASE(208, "208", MB_T13, "104", "105", "106", "107", "108", MB_R13);
  MB_CASE(224, "224", MB_T14, "112", "113", "114", "115", "116", MB_R14);
  MB_CASE(240, "240", MB_T15, "120", "121", "122", "123", "124", MB_R15);
  MB_CASE(256, "256", MB_T16, "128", "129", "130", "131", "132", MB_R16);
}

#undef MB_CASE
#undef MB_WGMMA
#undef MB_EIGHT
#undef MB_R1
#undef MB_T1
#undef MB_R2
#undef MB_T2
#undef MB_R3
#undef MB_T3
#undef MB_R4
#undef MB_T4
#undef MB_R5
#undef MB_T5
#undef MB_R6
#undef MB_T6
#undef MB_R7
#undef MB_T7
#undef MB_R8
#undef MB_T8
#undef MB_R9
#undef MB_T9
#undef MB_R10
#undef MB_T10
#undef MB_R11
#undef MB_T11
#undef MB_R12
#undef MB_T12
#undef MB_R13
#undef MB_T13
#undef MB_R14
#undef MB_T14
#undef MB_R15
#undef MB_T15
#undef MB_R16
#undef MB_T16

}  // namespace moebench::cuda::grouped
