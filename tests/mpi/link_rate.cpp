// SPDX-License-Identifier: Apache-2.0
// The rate at which every rank sends rows to the next one, as exchange_rows sees it: mpi_link_rate MEGABYTES.
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "comm/memories.h"
#include "comm/world.h"

namespace moebench {
namespace {

constexpr std::int64_t kRowBytes = 1000;
constexpr int kRounds = 4;

double megabytes_per_second(World& world, std::int64_t rows) {
  HostMemory memory;
  const auto comm = world.make_comm(memory, {});
  const Tensor from(memory, DType::fp32, rows, kRowBytes / 4), to(memory, DType::fp32, rows, kRowBytes / 4);
  std::vector<Segment> sends(world.size()), recvs(world.size());
  sends[(world.rank() + 1) % world.size()] = {0, rows};
  recvs[(world.rank() + world.size() - 1) % world.size()] = {0, rows};
  comm->exchange_rows({from, to, sends, recvs});  // opens the connections
  world.barrier();
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < kRounds; ++round) comm->exchange_rows({from, to, sends, recvs});
  world.barrier();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return 1e-6 * static_cast<double>(kRounds * rows * kRowBytes) / took.count();
}

}  // namespace
}  // namespace moebench

int main(int argc, char** argv) {
  using namespace moebench;
  if (argc != 2) return 2;
  const auto world = make_world({.comm = "mpi", .timeout_s = 60});
  try {
    const double rate = megabytes_per_second(*world, std::atol(argv[1]) * 1'000'000 / kRowBytes);
    if (world->rank() == 0)
      std::printf("%d ranks, %d on this host: %.1f MB/s sent and received per rank\n", world->size(),
                  world->local_size(), rate);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    world->abort(static_cast<int>(error.code()));
  }
}
