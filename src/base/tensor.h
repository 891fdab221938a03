// SPDX-License-Identifier: Apache-2.0
// Row-major matrices: a non-owning view and an owner.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "base/memory.h"

namespace moebench {

/// `data` [rows, cols] row-major, dense, of `dtype`; in the memory of the backend that made it.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::fp32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;

  std::int64_t size() const { return rows * cols; }
  std::size_t row_bytes() const { return static_cast<std::size_t>(cols) * size_of(dtype); }
  std::size_t bytes() const { return static_cast<std::size_t>(rows) * row_bytes(); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  /// Rows [first, first + count).
  TensorView slice(std::int64_t first, std::int64_t count) const {
    auto* base = static_cast<std::byte*>(data);
    return {base + static_cast<std::size_t>(first) * row_bytes(), dtype, count, cols};
  }
};

/// A matrix and the memory under it.
class Tensor {
 public:
  Tensor() = default;
  Tensor(Memory& memory, DType dtype, std::int64_t rows, std::int64_t cols)
      : buffer_(memory, static_cast<std::size_t>(rows * cols) * size_of(dtype)),
        view_{buffer_.data(), dtype, rows, cols} {}

  /// Reserves `rows`; contents are lost when it grows.
  void set_rows(std::int64_t rows) {
    buffer_.reserve(static_cast<std::size_t>(rows) * view_.row_bytes());
    view_.data = buffer_.data();
    view_.rows = rows;
  }
  const TensorView& view() const { return view_; }
  operator const TensorView&() const { return view_; }  // NOLINT(google-explicit-constructor)

 private:
  Buffer buffer_;
  TensorView view_;
};

}  // namespace moebench
