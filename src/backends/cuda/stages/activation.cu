// SPDX-License-Identifier: Apache-2.0
// Idea: one warp per row, two to four accesses in flight per lane. In 16-bit formats the memory leaves
// about 28 instructions per element, so there the functions use the processor's fast exponential and
// reciprocal, whose error (below 3e-7) is far under the format's; fp32 uses the accurate ones.
// Layout: pre [n, F] or for SwiGLU [n, 2F] = [gate | up]; act, dact [n, F]; dpre as pre.
// Moves: GELU reads and writes n·F elements, backward reads 2·n·F and writes n·F; SwiGLU 3 and 5 times
// n·F. n 8192, F 4096, bf16, GELU: 134 MB forward, 32 µs at 4.2 TB/s; 201 MB backward, 48 µs.
#include "backends/cuda/stages/activation.cuh"
#include "backends/cuda/stages/kernels.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {
namespace {

template <class T, int N, Activation kActivation>
__global__ void __launch_bounds__(kThreads)
    activation_forward_kernel(const T* __restrict__ pre, std::int64_t rows, std::int64_t cols,
                              T* __restrict__ act) {
  using A = Act<Functions<T>, kActivation>;
  const std::int64_t r = warp_of_grid();
  if (r >= rows) return;
  pre += r * cols * A::kInputs, act += r * cols;
  constexpr int kAtOnce = 4;
  for (std::int64_t c = lane_of_warp() * N; c < cols; c += 32 * N * kAtOnce) {
    Raw<T, N> raw[kAtOnce][A::kInputs];
#pragma unroll
    for (int a = 0; a < kAtOnce; ++a)
      for (int i = 0; i < A::kInputs; ++i)
        if (c + 32 * N * a < cols) raw[a][i] = load<T, N>(pre + i * cols + c + 32 * N * a);
#pragma unroll
    for (int a = 0; a < kAtOnce; ++a) {
      if (c + 32 * N * a >= cols) break;
      float in[A::kInputs][N], out[N];
      for (int i = 0; i < A::kInputs; ++i) unpack<T, N>(raw[a][i], in[i]);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        float inputs[A::kInputs];
        for (int i = 0; i < A::kInputs; ++i) inputs[i] = in[i][n];
        out[n] = A::forward(inputs);
      }
      store<T, N>(act + c + 32 * N * a, out);
    }
  }
}

template <class T, int N, Activation kActivation>
__global__ void __launch_bounds__(kThreads)
    activation_backward_kernel(const T* __restrict__ pre, const T* __restrict__ dact, std::int64_t rows,
                               std::int64_t cols, T* __restrict__ dpre) {
  using A = Act<Functions<T>, kActivation>;
  const std::int64_t r = warp_of_grid();
  if (r >= rows) return;
  pre += r * cols * A::kInputs, dpre += r * cols * A::kInputs, dact += r * cols;
  for (std::int64_t c = lane_of_warp() * N; c < cols; c += 32 * N) {
    Raw<T, N> raw[A::kInputs];
    for (int i = 0; i < A::kInputs; ++i) raw[i] = load<T, N>(pre + i * cols + c);
    const Raw<T, N> raw_gradient = load<T, N>(dact + c);
    float in[A::kInputs][N], gradient[N], out[A::kInputs][N];
    for (int i = 0; i < A::kInputs; ++i) unpack<T, N>(raw[i], in[i]);
    unpack<T, N>(raw_gradient, gradient);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      float inputs[A::kInputs], gradients[A::kInputs];
      for (int i = 0; i < A::kInputs; ++i) inputs[i] = in[i][n];
      A::backward(gradient[n], inputs, gradients);
      for (int i = 0; i < A::kInputs; ++i) out[i][n] = gradients[i];
    }
    for (int i = 0; i < A::kInputs; ++i) store<T, N>(dpre + i * cols + c, out[i]);
  }
}

/// work.operator()<T, N, activation>().
template <class Work>
void with_activation(Activation activation, const TensorView& act, std::initializer_list<const void*> rows,
                     Work work) {
  with_access(act.dtype, act.cols, rows, [&]<class T, int N>() {
    if (activation == Activation::gelu)
      work.template operator()<T, N, Activation::gelu>();
    else
      work.template operator()<T, N, Activation::swiglu>();
  });
}

}  // namespace

void activate(cudaStream_t stream, Activation activation, const TensorView& pre, const TensorView& act) {
  if (act.size() == 0) return;
  with_activation(activation, act, {pre.data, act.data}, [&]<class T, int N, Activation kActivation>() {
    activation_forward_kernel<T, N, kActivation><<<grid(blocks_for(act.rows, kWarps)), kThreads, 0, stream>>>(
        pre.as<const T>(), act.rows, act.cols, act.as<T>());
  });
  check_launch("activation_forward_kernel");
}

void activate_backward(cudaStream_t stream, Activation activation, const TensorView& pre,
                       const TensorView& dact, const TensorView& dpre) {
  if (dact.size() == 0) return;
  with_activation(activation, dact, {pre.data, dact.data, dpre.data},
                  [&]<class T, int N, Activation kActivation>() {
                    activation_backward_kernel<T, N, kActivation>
                        <<<grid(blocks_for(dact.rows, kWarps)), kThreads, 0, stream>>>(
                            pre.as<const T>(), dact.as<const T>(), dact.rows, dact.cols, dpre.as<T>());
                  });
  check_launch("activation_backward_kernel");
}

}  // namespace moebench::cuda
