// SPDX-License-Identifier: Apache-2.0
#include "comm/peer_memory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "base/error.h"
#include "base/text.h"
#include "comm/peer/mapping.h"

namespace moebench {
namespace {

/// The same for processes of one host, as the World counts hosts: host name, boot and network namespace.
std::int64_t host_identity() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat network {};
  stat("/proc/self/ns/net", &network);
  return static_cast<std::int64_t>(std::hash<std::string>{}(cat(name, " ", boot, " ", network.st_ino)));
}

/// Every rank's `mine`, [P, words].
std::vector<std::int64_t> gather(Comm& group, std::span<const std::int64_t> mine) {
  std::vector<std::int64_t> send, recv(mine.size() * static_cast<std::size_t>(group.size()));
  for (int p = 0; p < group.size(); ++p) send.insert(send.end(), mine.begin(), mine.end());
  group.exchange_sizes(send, recv);
  return recv;
}

/// The lowest rank for which `failed`; -1 for none. Collective.
int first_failed(Comm& group, bool failed) {
  const std::int64_t mine = failed;
  const auto all = gather(group, {&mine, 1});
  const auto found = std::find(all.begin(), all.end(), 1);
  return found == all.end() ? -1 : static_cast<int>(found - all.begin());
}

class MappedPeerMemory final : public PeerMemory {
 public:
  MappedPeerMemory(std::unique_ptr<PeerMapping> mapping, std::vector<std::byte*> blocks)
      : mapping_(std::move(mapping)), blocks_(std::move(blocks)) {}
  const std::vector<std::byte*>& blocks() const override { return blocks_; }

 private:
  std::unique_ptr<PeerMapping> mapping_;
  std::vector<std::byte*> blocks_;
};

/// Runs `work` on every rank; the reason, naming the first rank that failed, if any did.
template <class Work>
std::string attempt(Comm& group, Work work) {
  std::string mine;
  try {
    work();
  } catch (const CommError&) {
    throw;
  } catch (const Error& error) {
    mine = error.what();
  }
  const int failed = first_failed(group, !mine.empty());
  if (failed < 0) return {};
  return failed == group.rank() ? mine : cat("rank ", failed, " of the group cannot map its peers");
}

std::unique_ptr<PeerMapping> make_mapping(Memory& memory, std::size_t bytes) {
  if (memory.host_accessible()) return make_shm_mapping(bytes);
#ifdef MOEBENCH_HAVE_CUDA
  return make_cuda_mapping(memory, bytes);
#else
  throw EnvironmentError("this build has no CUDA");
#endif
}

/// Each rank writes one word into each peer's block; each then reads what its peers wrote.
void write_pattern(PeerMapping& mapping, const std::vector<std::byte*>& blocks, int rank) {
  const std::int64_t word = 0x5EED0000 + rank;
  for (std::byte* block : blocks)
    mapping.write(block + sizeof word * static_cast<std::size_t>(rank), &word, sizeof word);
}
void read_pattern(PeerMapping& mapping, std::size_t ranks) {
  std::vector<std::int64_t> words(ranks);
  mapping.read(words.data(), mapping.own(), ranks * sizeof(std::int64_t));
  for (std::size_t p = 0; p < ranks; ++p)
    if (words[p] != 0x5EED0000 + static_cast<std::int64_t>(p))
      throw EnvironmentError(cat("what rank ", p, " of the group wrote did not arrive"));
  std::fill(words.begin(), words.end(), 0);
  mapping.write(mapping.own(), words.data(), ranks * sizeof(std::int64_t));
}

}  // namespace

PeerMemoryResult make_peer_memory(Comm& group, Memory& memory, std::size_t bytes) {
  const std::int64_t host = host_identity();
  const auto hosts = gather(group, {&host, 1});
  if (std::any_of(hosts.begin(), hosts.end(), [&](std::int64_t other) { return other != hosts[0]; }))
    return {nullptr, "the ranks of an expert-parallel group run on several hosts"};
  const auto ranks = static_cast<std::size_t>(group.size());
  bytes = std::max(bytes, ranks * sizeof(std::int64_t));
  std::unique_ptr<PeerMapping> mapping;
  PeerHandle mine{};
  std::string why = attempt(group, [&] {
    mapping = make_mapping(memory, bytes);
    mine = mapping->handle();
  });
  if (!why.empty()) return {nullptr, why};
  const auto handles = gather(group, mine);
  std::vector<std::byte*> blocks;
  why = attempt(group, [&] {
    for (std::size_t p = 0; p < ranks; ++p) {
      PeerHandle handle;
      std::copy_n(handles.begin() + static_cast<std::ptrdiff_t>(p * handle.size()), handle.size(),
                  handle.begin());
      blocks.push_back(static_cast<int>(p) == group.rank() ? mapping->own() : mapping->map(handle));
    }
    write_pattern(*mapping, blocks, group.rank());
  });
  if (!why.empty()) return {nullptr, why};
  why = attempt(group, [&] { read_pattern(*mapping, ranks); });
  first_failed(group, false);  // a barrier: every block is cleared before a peer uses it
  if (!why.empty()) return {nullptr, why};
  return {std::make_unique<MappedPeerMemory>(std::move(mapping), std::move(blocks)), {}};
}

}  // namespace moebench
