// SPDX-License-Identifier: Apache-2.0
#include "trace/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/sha256.h"
#include "base/text.h"

namespace moebench {
namespace {

class File final : public ByteSource {
 public:
  explicit File(const std::string& path)
      : ByteSource(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat state;
    if (descriptor_ < 0 || ::fstat(descriptor_, &state) != 0)
      throw UsageError(cat(path, ": ", std::strerror(errno)));
    if (!S_ISREG(state.st_mode)) {
      ::close(descriptor_);
      throw UsageError(cat(path, ": not a regular file"));
    }
    size_ = static_cast<std::uint64_t>(state.st_size);
  }
  ~File() override { ::close(descriptor_); }
  std::uint64_t size() const override { return size_; }

 private:
  void fetch(std::uint64_t offset, std::span<std::byte> to) const override {
    while (!to.empty()) {
      const ssize_t got = ::pread(descriptor_, to.data(), to.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) refuse(offset, got == 0 ? "the file became shorter" : std::strerror(errno));
      offset += static_cast<std::uint64_t>(got);
      to = to.subspan(static_cast<std::size_t>(got));
    }
  }

  int descriptor_;
  std::uint64_t size_ = 0;
};

class Bytes final : public ByteSource {
 public:
  Bytes(std::string name, std::span<const std::byte> bytes) : ByteSource(std::move(name)), bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }

 private:
  void fetch(std::uint64_t offset, std::span<std::byte> to) const override {
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), to.size(), to.begin());
  }

  std::span<const std::byte> bytes_;
};

}  // namespace

void ByteSource::read(std::uint64_t offset, std::span<std::byte> to) const {
  require(offset, to.size(), 1);
  fetch(offset, to);
}

void ByteSource::require(std::uint64_t offset, std::uint64_t count, std::uint64_t bytes_each) const {
  if (offset > size() || (bytes_each > 0 && count > (size() - offset) / bytes_each))
    refuse(offset,
           cat("ends at byte ", size(), ", ", count, " x ", bytes_each, " bytes were announced here"));
}

void ByteSource::refuse(std::uint64_t offset, std::string_view why) const {
  std::string line(why);  // it may quote the file, which may hold anything
  for (char& c : line)
    if (c < ' ' || c > '~') c = '?';
  throw UsageError(cat(name_, " at byte ", offset, ": ", line));
}

std::string ByteSource::sha256() const {
  Sha256 hash;
  std::vector<std::byte> part(std::size_t{1} << 20);
  for (std::uint64_t at = 0; at < size(); at += part.size()) {
    const std::span now = std::span(part).first(std::min<std::uint64_t>(part.size(), size() - at));
    read(at, now);
    hash.add(now);
  }
  return hash.hex();
}

std::unique_ptr<ByteSource> open_file(const std::string& path) { return std::make_unique<File>(path); }

std::unique_ptr<ByteSource> source_of(std::string name, std::span<const std::byte> bytes) {
  return std::make_unique<Bytes>(std::move(name), bytes);
}

}  // namespace moebench
