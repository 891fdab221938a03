// SPDX-License-Identifier: Apache-2.0
// How one kind of memory is exported to other processes and mapped by them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/memory.h"

namespace moebench {

/// What another process needs to map a block: process and file, or a CUDA handle.
using PeerHandle = std::array<std::int64_t, 9>;

/// One rank's own block and the peers' blocks that it has mapped. Unmaps and frees in its destructor.
class PeerMapping {
 public:
  virtual ~PeerMapping() = default;
  virtual std::byte* own() const = 0;
  virtual PeerHandle handle() const = 0;
  /// Throws Error with the reason.
  virtual std::byte* map(const PeerHandle& handle) = 0;
  /// Copy between the host and a block; wait for it.
  virtual void write(std::byte* to, const void* host, std::size_t bytes) = 0;
  virtual void read(void* host, const std::byte* from, std::size_t bytes) = 0;
};

/// An anonymous file in memory (memfd), mapped by peers through /proc. Throws Error.
std::unique_ptr<PeerMapping> make_shm_mapping(std::size_t bytes);
/// A block of `memory`, opened by peers through CUDA IPC. Throws Error.
std::unique_ptr<PeerMapping> make_cuda_mapping(Memory& memory, std::size_t bytes);

}  // namespace moebench
