// SPDX-License-Identifier: Apache-2.0
// What the files of the suite over every Backend share.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "backends/backend.h"

namespace moebench {

struct Maker {
  const char* name;
  std::unique_ptr<Backend> (*make)();
  std::string (*why_not)() = [] { return std::string(); };  ///< why it cannot be made here
};

/// An array in a backend's memory.
template <class T>
class Array {
 public:
  Array(Backend& backend, const std::vector<T>& values)
      : backend_(backend), buffer_(backend.memory(), values.size() * sizeof(T)), size_(values.size()) {
    backend.memory().copy_from_host(buffer_.data(), values.data(), values.size() * sizeof(T));
  }
  Array(Backend& backend, std::size_t size) : Array(backend, std::vector<T>(size, T{-1})) {}
  operator std::span<T>() const { return {buffer_.template as<T>(), size_}; }
  operator std::span<const T>() const { return {buffer_.template as<T>(), size_}; }
  std::vector<T> host() const {
    std::vector<T> values(size_);
    backend_.synchronize();
    backend_.memory().copy_to_host(values.data(), buffer_.data(), size_ * sizeof(T));
    return values;
  }

 private:
  Backend& backend_;
  Buffer buffer_;
  std::size_t size_;
};

class EveryBackend : public testing::TestWithParam<Maker> {
 protected:
  void SetUp() override {
    if (const std::string why = GetParam().why_not(); !why.empty()) GTEST_SKIP() << why;
    backend_ = GetParam().make();
  }

  Tensor random(std::int64_t rows, std::int64_t cols, std::uint64_t key) {
    Tensor tensor(backend_->memory(), DType::fp32, rows, cols);
    backend_->fill(tensor, {key, 1.0f}, 0);
    return tensor;
  }
  Tensor poisoned(std::int64_t rows, std::int64_t cols) {
    Tensor tensor(backend_->memory(), DType::fp32, rows, cols);
    backend_->poison(tensor);
    return tensor;
  }
  Tensor of(std::int64_t rows, std::int64_t cols, const std::vector<float>& values) {
    Tensor tensor(backend_->memory(), DType::fp32, rows, cols);
    backend_->upload(tensor, values);
    return tensor;
  }
  std::vector<float> host(const Tensor& tensor) {
    std::vector<float> values(static_cast<std::size_t>(tensor.view().size()));
    backend_->synchronize();
    backend_->download(values, tensor);
    return values;
  }
  double dot(const Tensor& a, const Tensor& b) {
    const auto x = host(a), y = host(b);
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
  }

  std::unique_ptr<Backend> backend_;
};

}  // namespace moebench
