// SPDX-License-Identifier: Apache-2.0
// What the device tests share: a GPU or a reason to skip, arrays on it, and the CPU backend to compare with.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "backends/cuda/cuda_backend.h"
#include "base/error.h"
#include "base/text.h"

namespace moebench {

inline constexpr DType kDTypes[] = {DType::fp32, DType::tf32, DType::bf16, DType::fp16};

/// Half a unit in the last place of a stored number near 1: what one rounding may cost.
inline double rounding(DType dtype) {
  return dtype == DType::bf16 ? 1.0 / 256 : dtype == DType::fp16 ? 1.0 / 2048 : 6e-8;
}

/// An array in a backend's memory.
template <class T>
class Array {
 public:
  Array(Backend& backend, const std::vector<T>& values)
      : backend_(&backend), buffer_(backend.memory(), values.size() * sizeof(T)), size_(values.size()) {
    backend.memory().copy_from_host(buffer_.data(), values.data(), values.size() * sizeof(T));
  }
  Array(Backend& backend, std::size_t size) : Array(backend, std::vector<T>(size, T{-1})) {}
  operator std::span<T>() const { return {buffer_.template as<T>(), size_}; }
  operator std::span<const T>() const { return {buffer_.template as<T>(), size_}; }
  T* data() const { return buffer_.template as<T>(); }
  std::vector<T> host() const {
    std::vector<T> values(size_);
    backend_->memory().copy_to_host(values.data(), buffer_.data(), size_ * sizeof(T));
    return values;
  }

 private:
  Backend* backend_;
  Buffer buffer_;
  std::size_t size_;
};

inline std::vector<float> host(Backend& backend, const TensorView& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.size()));
  backend.download(values, tensor);
  return values;
}

/// ‖out - expected‖ / ‖expected‖; NaN if any element is.
inline double error_of(std::span<const float> out, std::span<const float> expected) {
  double off = 0, all = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    off += (double{out[i]} - expected[i]) * (double{out[i]} - expected[i]);
    all += double{expected[i]} * expected[i];
  }
  return all > 0 ? std::sqrt(off / all) : std::sqrt(off);
}

class OnGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
    gpu_ = make_cuda_backend(0);
    cpu_ = make_cpu_backend(2);
  }

  Tensor random(DType dtype, std::int64_t rows, std::int64_t cols, std::uint64_t key) {
    Tensor tensor(gpu_->memory(), dtype, rows, cols);
    gpu_->fill(tensor, {key, 1.0f}, 0);
    return tensor;
  }
  Tensor poisoned(DType dtype, std::int64_t rows, std::int64_t cols) {
    Tensor tensor(gpu_->memory(), dtype, rows, cols);
    gpu_->poison(tensor);
    return tensor;
  }
  /// The same numbers in the CPU backend's fp32.
  Tensor on_cpu(const TensorView& tensor) {
    Tensor copy(cpu_->memory(), DType::fp32, tensor.rows, tensor.cols);
    cpu_->upload(copy, on_host(tensor));
    return copy;
  }
  std::vector<float> on_host(const TensorView& tensor) { return host(*gpu_, tensor); }

  std::unique_ptr<Backend> gpu_, cpu_;
};

/// One test per number format.
class InEveryFormat : public OnGpu, public testing::WithParamInterface<DType> {
 protected:
  DType dtype() const { return GetParam(); }
};

inline std::string format_name(const testing::TestParamInfo<DType>& test) {
  return std::string(name_of(test.param));
}

}  // namespace moebench
