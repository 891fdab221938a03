// SPDX-License-Identifier: Apache-2.0
// Bytes of a file that is not trusted: read where asked for, never all at once, and refused with their place.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace moebench {

static_assert(std::endian::native == std::endian::little, "traces are read and written in little endian");

class ByteSource {
 public:
  explicit ByteSource(std::string name) : name_(std::move(name)) {}
  virtual ~ByteSource() = default;

  const std::string& name() const { return name_; }
  virtual std::uint64_t size() const = 0;
  /// Fills `to` from `offset`. Refuses what lies past the end.
  void read(std::uint64_t offset, std::span<std::byte> to) const;
  template <class T>
  T read_as(std::uint64_t offset) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  /// Of `count` elements. Refuses before it allocates if the source is shorter.
  template <class T>
  std::vector<T> read_many(std::uint64_t offset, std::uint64_t count) const {
    require(offset, count, sizeof(T));
    std::vector<T> values(count);
    read(offset, std::as_writable_bytes(std::span(values)));
    return values;
  }
  /// Refuses unless `count` elements of so many bytes lie behind `offset`.
  void require(std::uint64_t offset, std::uint64_t count, std::uint64_t bytes_each) const;
  /// Throws UsageError "NAME at byte OFFSET: WHY".
  [[noreturn]] void refuse(std::uint64_t offset, std::string_view why) const;
  /// SHA-256 of all of it.
  std::string sha256() const;

 protected:
  virtual void fetch(std::uint64_t offset, std::span<std::byte> to) const = 0;

 private:
  std::string name_;
};

/// Throws UsageError if there is no such file or it cannot be read.
std::unique_ptr<ByteSource> open_file(const std::string& path);
/// Of bytes that outlive it.
std::unique_ptr<ByteSource> source_of(std::string name, std::span<const std::byte> bytes);

}  // namespace moebench
