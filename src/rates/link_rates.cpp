// SPDX-License-Identifier: Apache-2.0
// What the links give: an all-to-all in both forms and an all-reduce, alone, at the bytes of the layer's
// exchanges. For work on them. moebench_link_rates [--ranks N], or under a launcher; ranks that share a
// GPU need mpirun.
//
// algorithm GB/s = bytes of one rank's buffer / time; bus GB/s = what crosses the link of one rank / time
// (nccl-tests, doc/PERFORMANCE.md): (R-1)/R of the buffer for an all-to-all, 2·(R-1)/R for an all-reduce.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "backends/cuda/cuda_backend.h"
#include "base/error.h"
#include "comm/local_ranks.h"
#include "comm/world.h"

namespace moebench {
namespace {

constexpr std::int64_t kHidden = 1024;  // the paper's; rows are fp32
constexpr int kExperts = 4;             // on each rank, in the paper's scaling
constexpr int kWarmUps = 5, kRepeats = 20;

/// Rows of one rank, dealt evenly over the experts of all.
struct AllToAll {
  AllToAll(Backend& gpu, const Comm& comm, std::int64_t rows)
      : send(gpu.memory(), DType::fp32, rows, kHidden), recv(gpu.memory(), DType::fp32, rows, kHidden) {
    const std::int64_t ranks = comm.size(), part = rows / (ranks * kExperts);
    for (std::int64_t peer = 0; peer < ranks; ++peer)
      for (std::int64_t expert = 0; expert < kExperts; ++expert) {
        sends.push_back({(peer * kExperts + expert) * part, part});
        recvs.push_back({(expert * ranks + peer) * part, part});
      }
  }
  RowExchange exchange(ExchangeForm form) const {
    return {.send = send,
            .recv = recv,
            .sends = sends,
            .recvs = recvs,
            .segments_per_peer = kExperts,
            .form = form};
  }
  Tensor send, recv;
  std::vector<Segment> sends, recvs;
};

/// The median over repeats of the slowest rank's time, in microseconds.
template <class Work>
double median_us(World& world, Backend& gpu, Work work) {
  const auto timestamps = gpu.make_timestamps(2);
  std::vector<double> times;
  for (int repeat = -kWarmUps; repeat < kRepeats; ++repeat) {
    world.barrier();
    timestamps->record(0);
    work();
    timestamps->record(1);
    gpu.synchronize();
    const double mine = timestamps->elapsed_us(0, 1);
    const auto all = world.gather({&mine, 1});
    if (repeat >= 0) times.push_back(*std::max_element(all.begin(), all.end()));
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void print(World& world, const char* what, double bytes, double us, double share) {
  if (world.rank() != 0) return;
  std::printf("%-4s %2d ranks  %-22s %8.1f MB %10.1f us %8.1f GB/s algorithm %8.1f GB/s bus\n",
              std::string(world.name()).c_str(), world.size(), what, bytes * 1e-6, us, bytes / us * 1e-3,
              share * bytes / us * 1e-3);
  std::fflush(stdout);
}

void measure(World& world, Backend& gpu, Comm& comm, std::int64_t rows) {
  const AllToAll all_to_all(gpu, comm, rows);
  const auto bytes = static_cast<double>(all_to_all.send.view().bytes());
  const double share = static_cast<double>(comm.size() - 1) / comm.size();
  const auto exchange = [&](ExchangeForm form) {
    return median_us(world, gpu, [&] { comm.exchange_rows(all_to_all.exchange(form)); });
  };
  print(world, "all-to-all fused", bytes, exchange(ExchangeForm::fused), share);
  print(world, "all-to-all per-expert", bytes, exchange(ExchangeForm::per_expert), share);
  print(world, "all-reduce", bytes, median_us(world, gpu, [&] { comm.all_reduce(all_to_all.send); }),
        2 * share);
}

void run() {
  const Launch launch = detect_launch();
  const auto world =
      make_world({.comm = launch.launcher == "mpirun" ? "auto" : "nccl", .gpu = true, .timeout_s = 60});
  try {
    const auto gpu = make_cuda_backend(world->local_rank());
    const auto comm = world->make_comm(gpu->memory(), gpu->stream());
    // 4096 tokens, top-2: 33.6 MB in fp32, half of it in bf16; and one that is large enough for the link's
    // best.
    for (const std::int64_t rows : {4096, 8192, 65536}) measure(*world, *gpu, *comm, rows);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    world->abort(static_cast<int>(error.code()));
  }
}

}  // namespace
}  // namespace moebench

int main(int argc, char** argv) {
  try {
    if (argc == 3 && std::string(argv[1]) == "--ranks" && moebench::detect_launch().launcher.empty())
      return moebench::run_local_ranks(std::atoi(argv[2]), {argv, argv + argc});
    moebench::run();
  } catch (const moebench::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
