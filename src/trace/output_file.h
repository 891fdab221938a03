// SPDX-License-Identifier: Apache-2.0
// A new file that is written from front to back.
#pragma once

#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace moebench {

/// Removed again if it is not finished. Refuses to replace a file.
class OutputFile {
 public:
  /// Throws UsageError if it exists, EnvironmentError if it cannot be made.
  explicit OutputFile(const std::string& path);
  OutputFile(const OutputFile&) = delete;
  ~OutputFile();

  /// Throw EnvironmentError: a full disk.
  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  template <class T>
  void write_value(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    write(&value, sizeof value);
  }
  template <class T>
  void write_all(std::span<const T> values) {
    write(values.data(), values.size_bytes());
  }
  void finish();

 private:
  [[noreturn]] void fail() const;

  std::string path_;
  std::FILE* file_ = nullptr;
};

}  // namespace moebench
