// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "comm/peer/mapping.h"

namespace moebench {
namespace {

class ShmMapping final : public PeerMapping {
 public:
  explicit ShmMapping(std::size_t bytes) : bytes_(bytes) {
    file_ = memfd_create("moebench", MFD_CLOEXEC);
    if (file_ < 0) throw EnvironmentError(cat("memfd_create: ", std::strerror(errno)));
    if (ftruncate(file_, static_cast<off_t>(bytes)) != 0) {
      const int error = errno;
      close(file_);
      throw MemoryError(bytes,
                        cat("cannot allocate ", bytes, " bytes of shared memory: ", std::strerror(error)));
    }
    own_ = map_file(file_);
    std::memset(own_, 0, bytes);  // touched here, not inside a timed region
  }
  ~ShmMapping() override {
    for (std::byte* block : mapped_) munmap(block, bytes_);
    close(file_);
  }

  std::byte* own() const override { return own_; }
  PeerHandle handle() const override { return {getpid(), file_}; }
  std::byte* map(const PeerHandle& handle) override {
    const std::string path = cat("/proc/", handle[0], "/fd/", handle[1]);
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (file < 0)
      throw EnvironmentError(
          cat("cannot open the shared memory of process ", handle[0], ": ", std::strerror(errno)));
    std::byte* const block = map_file(file);
    close(file);
    return block;
  }
  void write(std::byte* to, const void* host, std::size_t bytes) override { std::memcpy(to, host, bytes); }
  void read(void* host, const std::byte* from, std::size_t bytes) override { std::memcpy(host, from, bytes); }

 private:
  std::byte* map_file(int file) {
    void* const block = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (block == MAP_FAILED) throw EnvironmentError(cat("mmap: ", std::strerror(errno)));
    mapped_.push_back(static_cast<std::byte*>(block));
    return mapped_.back();
  }

  std::size_t bytes_;
  int file_ = -1;
  std::byte* own_ = nullptr;
  std::vector<std::byte*> mapped_;
};

}  // namespace

std::unique_ptr<PeerMapping> make_shm_mapping(std::size_t bytes) {
  return std::make_unique<ShmMapping>(bytes);
}

}  // namespace moebench
