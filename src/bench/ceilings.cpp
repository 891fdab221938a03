// SPDX-License-Identifier: Apache-2.0
#include "bench/ceilings.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "comm/peer_memory.h"
#include "moe/workload.h"

namespace moebench {
namespace {

/// The best of a measurement, and how far its second best round was behind, in percent.
struct Best {
  double value = 0, spread_pct = 0;
};

constexpr int kRounds = 2;  // of work that is collective: all ranks do as many

/// Least time of `work` in microseconds: a ceiling is what the machine can do undisturbed. Rounds of repeats go on until
/// the two best agree, or for as many as `rounds` says.
template <class Work>
Best min_us(Backend& backend, Work work, int rounds = 0) {
  constexpr int kMaxRounds = 5, kRepeats = 15, kFewest = 2;
  constexpr double kRound_us = 1e5, kAgree_pct = 2;
  const auto timestamps = backend.make_timestamps(2);
  const auto timed = [&] {
    timestamps->record(0);
    work();
    timestamps->record(1);
    backend.synchronize();
    return timestamps->elapsed_us(0, 1);
  };
  timed();  // warms up
  std::vector<double> best;
  for (;;) {
    double min = std::numeric_limits<double>::infinity(), spent = 0;
    for (int repeat = 0; repeat < kRepeats && (rounds > 0 || repeat < kFewest || spent < kRound_us);
         ++repeat) {
      const double us = timed();
      spent += us;
      min = std::min(min, us);
    }
    best.push_back(min);
    std::sort(best.begin(), best.end());
    const auto count = static_cast<int>(best.size());
    const double apart = count > 1 && best[0] > 0 ? 100 * (best[1] - best[0]) / best[0] : 0;
    if (rounds > 0 ? count == rounds : count > 1 && (apart <= kAgree_pct || count == kMaxRounds))
      return {best[0], apart};
  }
}

Tensor random_tensor(Backend& backend, DType dtype, std::int64_t rows, std::int64_t cols, std::uint64_t key) {
  Tensor tensor(backend.memory(), dtype, rows, cols);
  backend.fill(tensor, {key, 1.0f}, 0);
  return tensor;
}

/// Doubles a square product until it takes long enough to be near its best rate.
Best gemm_tflops(Backend& backend, DType dtype) {
  constexpr std::int64_t kSmallest = 512, kLargest = 8192;
  Best best;
  const auto room = static_cast<double>(backend.memory().available_bytes()) / 8;
  for (std::int64_t n = kSmallest; n <= kLargest && 3.0 * static_cast<double>(n * n * 4) <= room; n *= 2) {
    const Tensor a = random_tensor(backend, dtype, n, n, 1), b = random_tensor(backend, dtype, n, n, 2);
    const Tensor c(backend.memory(), dtype, n, n);
    const auto [us, spread_pct] = min_us(backend, [&] { backend.gemm(a, b, c); });
    const double tflops = 2.0 * static_cast<double>(n * n * n) / us * 1e-6;
    if (tflops > best.value) best = {tflops, spread_pct};
    constexpr double kLongEnough = 5e4;  // a product twice as wide would take 8 times this
    if (us > kLongEnough) break;
  }
  return best;
}

Best copy_gbs(Backend& backend) {
  // Far larger than the last-level cache, and no more than a quarter of what is left in both buffers together.
  const std::size_t wanted = std::max<std::size_t>(std::size_t{64} << 20, 8 * backend.device().cache_bytes);
  const auto bytes = std::min({wanted, backend.memory().available_bytes() / 8, std::size_t{1} << 30});
  const auto rows = static_cast<std::int64_t>(bytes / 4096);
  const Tensor from = random_tensor(backend, DType::fp32, rows, 1024, 3),
               to(backend.memory(), DType::fp32, rows, 1024);
  const auto [us, spread_pct] = min_us(backend, [&] { backend.copy(from, to); });
  return {2.0 * static_cast<double>(from.view().bytes()) / us * 1e-3, spread_pct};
}

double launch_us(Backend& backend) {
  const Tensor from = random_tensor(backend, DType::fp32, 1, 1, 4), to(backend.memory(), DType::fp32, 1, 1);
  return min_us(backend, [&] { backend.copy(from, to); }).value;
}

/// Time of an all-to-all in which every rank sends `rows` rows of 4 KiB to each other rank.
Best exchange_us(Bench bench, Comm& comm, std::int64_t rows) {
  const std::int64_t peers = comm.size();
  const Tensor send = random_tensor(bench.backend, DType::fp32, rows * peers, 1024, 5);
  const Tensor recv(bench.backend.memory(), DType::fp32, rows * peers, 1024);
  std::vector<Segment> segments;
  for (std::int64_t p = 0; p < peers; ++p) segments.push_back({p * rows, p == comm.rank() ? 0 : rows});
  return min_us(
      bench.backend,
      [&] {
        comm.exchange_rows(
            {.send = send, .recv = recv, .sends = segments, .recvs = segments, .segments_per_peer = 1});
      },
      kRounds);
}

/// Time in which every rank copies `bytes` to each other rank's block at once.
double peer_copy_us(Bench bench, const PeerMemory& peers, int rank, std::size_t bytes) {
  const auto& blocks = peers.blocks();
  bench.ranks.barrier();
  const auto all_copy = [&] {
    for (std::size_t p = 0; p < blocks.size(); ++p)
      if (static_cast<int>(p) != rank)
        bench.backend.memory().queue_copy(blocks[p] + static_cast<std::size_t>(rank) * bytes,
                                          blocks[static_cast<std::size_t>(rank)], bytes);
  };
  return min_us(bench.backend, all_copy, kRounds).value;
}

/// GPUs of one host also reach each other without messages: the link's ceiling is the faster of both ways.
void measure_peer_link(Bench bench, Comm& comm, Peaks& peaks) {
  constexpr std::size_t kBytes = std::size_t{64} << 20, kFewBytes = 4096;
  const auto ranks = static_cast<std::size_t>(comm.size());
  const PeerMemoryResult peers = make_peer_memory(comm, bench.backend.memory(), ranks * kBytes);
  if (!peers.memory) return;
  const double small_us = peer_copy_us(bench, *peers.memory, comm.rank(), kFewBytes);
  const double us = peer_copy_us(bench, *peers.memory, comm.rank(), kBytes);
  peaks.link_latency_us = std::min(peaks.link_latency_us, small_us);
  peaks.link_gbs = std::max(peaks.link_gbs, static_cast<double>((ranks - 1) * kBytes) / us * 1e-3);
  bench.ranks.barrier();  // no peer copies any more: the blocks can go
}

void measure_link(Bench bench, Peaks& peaks) {
  const auto comm = bench.ranks.make_comm(bench.backend.memory(), bench.backend.stream());
  constexpr std::int64_t kRows = 1024;  // 4 MiB to each peer
  bench.ranks.barrier();
  peaks.link_latency_us = exchange_us(bench, *comm, 1).value;
  bench.ranks.barrier();
  const auto [us, spread_pct] = exchange_us(bench, *comm, kRows);
  peaks.link_spread_pct = spread_pct;
  peaks.link_gbs = static_cast<double>((comm->size() - 1) * kRows * 4096) / us * 1e-3;
  if (!bench.backend.memory().host_accessible()) measure_peer_link(bench, *comm, peaks);
}

std::pair<double, double> pair_of(const Best& best) { return {best.value, best.spread_pct}; }

/// The slowest rank's figures on every rank.
void take_slowest(World& ranks, Peaks& peaks) {
  double* const rates[] = {&peaks.gemm_tflops, &peaks.copy_gbs, &peaks.link_gbs};
  double* const times[] = {&peaks.launch_us, &peaks.link_latency_us};
  double* const spreads[] = {&peaks.gemm_spread_pct, &peaks.copy_spread_pct, &peaks.link_spread_pct};
  const auto agree = [&](double* value, auto worse) {
    for (const double other : ranks.gather({value, 1})) *value = worse(*value, other);
  };
  for (double* rate : rates) agree(rate, [](double a, double b) { return std::min(a, b); });
  for (double* spread : spreads) agree(spread, [](double a, double b) { return std::max(a, b); });
  for (double* time : times) agree(time, [](double a, double b) { return std::max(a, b); });
}

}  // namespace

const Peaks& Ceilings::of(Bench bench, const PeaksKey& key) {
  MB_ASSERT(key.ranks == bench.ranks.size());
  if (const auto found = measured_.find(key); found != measured_.end()) return found->second;
  Peaks peaks{.backend = std::string(bench.backend.name()),
              .dtype = key.dtype,
              .ranks = key.ranks,
              .threads = key.threads};
  bench.ranks.barrier();
  std::tie(peaks.gemm_tflops, peaks.gemm_spread_pct) = pair_of(gemm_tflops(bench.backend, key.dtype));
  bench.ranks.barrier();
  std::tie(peaks.copy_gbs, peaks.copy_spread_pct) = pair_of(copy_gbs(bench.backend));
  peaks.launch_us = launch_us(bench.backend);
  if (bench.ranks.size() > 1) measure_link(bench, peaks);
  take_slowest(bench.ranks, peaks);
  return measured_[key] = peaks;
}

Ceilings::Ceilings(std::span<const Peaks> known) {
  for (const Peaks& peaks : known) measured_[peaks.key()] = peaks;
}

std::vector<Peaks> Ceilings::all() const {
  std::vector<Peaks> peaks;
  for (const auto& [key, value] : measured_) peaks.push_back(value);
  return peaks;
}

}  // namespace moebench
