// SPDX-License-Identifier: Apache-2.0
// All-reduce of host numbers. MPI knows fp32; the 16-bit formats are added here.
#include "comm/mpi/sum.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

namespace moebench {
namespace {

constexpr std::int64_t kChunk = std::int64_t{1} << 30;  // elements: within MPI's int counts

struct Bf16 {
  static float widen(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
  static std::uint16_t narrow(float value) {
    return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(round_to(DType::bf16, value)) >> 16);
  }
};

struct Fp16 {
  static float widen(std::uint16_t bits) {
    _Float16 value;  // no bit_cast: clang 14, which checks this, returns no half precision
    std::memcpy(&value, &bits, sizeof(value));
    return static_cast<float>(value);
  }
  static std::uint16_t narrow(float value) {
    const auto half = static_cast<_Float16>(value);
    std::uint16_t bits;
    std::memcpy(&bits, &half, sizeof(bits));
    return bits;
  }
};

template <class Format>
void add(void* in, void* inout, int* count, MPI_Datatype*) {
  const auto* from = static_cast<const std::uint16_t*>(in);
  auto* to = static_cast<std::uint16_t*>(inout);
  for (int i = 0; i < *count; ++i) to[i] = Format::narrow(Format::widen(from[i]) + Format::widen(to[i]));
}

/// Move-only owner of an operator that MPI may apply in any order of its operands.
class Operator {
 public:
  explicit Operator(MPI_User_function* function) { MB_MPI(MPI_Op_create(function, 1, &handle_)); }
  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;
  ~Operator() { MPI_Op_free(&handle_); }
  MPI_Op get() const { return handle_; }

 private:
  MPI_Op handle_ = MPI_OP_NULL;
};

void sum_as(const Group& group, void* data, std::int64_t size, std::size_t width, MPI_Datatype type,
            MPI_Op op) {
  for (std::int64_t first = 0; first < size; first += kChunk) {
    auto* values = static_cast<std::byte*>(data) + static_cast<std::size_t>(first) * width;
    const int count = static_cast<int>(std::min(kChunk, size - first));
    MPI_Request request;
    // MPI-3.1, section 5.9.6: all ranks receive identical results.
    MB_MPI(MPI_Iallreduce(MPI_IN_PLACE, values, count, type, op, group.comm.get(), &request));
    wait_collective(group, request, "for the sum with");
  }
}

}  // namespace

void sum_over(const Group& group, void* data, std::int64_t size, DType dtype) {
  switch (dtype) {
    case DType::fp32:
    case DType::tf32:
      return sum_as(group, data, size, 4, MPI_FLOAT, MPI_SUM);
    case DType::bf16:
      return sum_as(group, data, size, 2, MPI_UINT16_T, Operator(add<Bf16>).get());
    case DType::fp16:
      return sum_as(group, data, size, 2, MPI_UINT16_T, Operator(add<Fp16>).get());
  }
}

}  // namespace moebench
