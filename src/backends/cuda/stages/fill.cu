// SPDX-License-Identifier: Apache-2.0
// Idea: one thread per element, elements that no other depends on. Outside every timed region, so plain.
// Moves: fill writes n elements; convert reads n and writes n.
#include <algorithm>

#include "backends/cuda/stages/kernels.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {
namespace {

/// The elements of this thread: start, start + stride, …
struct Stride {
  std::int64_t start, step;
};
__device__ Stride stride_of_thread() {
  return {static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x,
          static_cast<std::int64_t>(gridDim.x) * blockDim.x};
}

template <class T>
__global__ void fill_uniform_kernel(T* to, std::int64_t count, UniformField field, std::int64_t first) {
  const Stride mine = stride_of_thread();
  for (std::int64_t i = mine.start; i < count; i += mine.step)
    to[i] = rounded<T>(field.at(static_cast<std::uint64_t>(first + i)));
}

template <class From, class To>
__global__ void convert_kernel(const From* from, To* to, std::int64_t count) {
  const Stride mine = stride_of_thread();
  for (std::int64_t i = mine.start; i < count; i += mine.step) to[i] = rounded<To>(to_float(from[i]));
}

__global__ void iota_kernel(std::int32_t* values, std::int64_t count) {
  const Stride mine = stride_of_thread();
  for (std::int64_t i = mine.start; i < count; i += mine.step) values[i] = static_cast<std::int32_t>(i);
}

unsigned stride_grid(std::int64_t count) {
  return grid(std::min<std::int64_t>(blocks_for(count, kThreads), 1 << 16));
}

}  // namespace

void fill(cudaStream_t stream, const TensorView& to, const UniformField& field, std::int64_t first) {
  if (to.size() == 0) return;
  with_storage(to.dtype, [&]<class T>() {
    fill_uniform_kernel<<<stride_grid(to.size()), kThreads, 0, stream>>>(to.as<T>(), to.size(), field, first);
  });
  check_launch("fill_uniform_kernel");
}

void convert(cudaStream_t stream, const TensorView& from, const TensorView& to) {
  if (to.size() == 0) return;
  MB_ASSERT(from.size() == to.size() && (size_of(from.dtype) == 4 || size_of(to.dtype) == 4));
  const unsigned blocks = stride_grid(to.size());
  if (size_of(from.dtype) == 4)
    with_storage(to.dtype, [&]<class T>() {
      convert_kernel<<<blocks, kThreads, 0, stream>>>(from.as<const float>(), to.as<T>(), to.size());
    });
  else
    with_storage(from.dtype, [&]<class T>() {
      convert_kernel<<<blocks, kThreads, 0, stream>>>(from.as<const T>(), to.as<float>(), to.size());
    });
  check_launch("convert_kernel");
}

void iota(cudaStream_t stream, std::span<std::int32_t> values) {
  if (values.empty()) return;
  iota_kernel<<<stride_grid(std::ssize(values)), kThreads, 0, stream>>>(values.data(), std::ssize(values));
  check_launch("iota_kernel");
}

}  // namespace moebench::cuda
