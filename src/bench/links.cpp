// SPDX-License-Identifier: Apache-2.0
#include "bench/links.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "backends/peer_kernels.h"
#include "base/error.h"
#include "base/text.h"
#include "comm/peer_memory.h"

namespace moebench {
namespace {

constexpr Words<LinkWay, 3> kWays{
    {{{LinkWay::messages, "messages"}, {LinkWay::copy, "copy"}, {LinkWay::store, "store"}}}};
constexpr Words<LinkPattern, 4> kPatterns{{{{LinkPattern::all, "all"},
                                            {LinkPattern::host, "host"},
                                            {LinkPattern::hosts, "hosts"},
                                            {LinkPattern::pair, "pair"}}}};

constexpr std::int64_t kRowBytes = 2048, kColumns = kRowBytes / 4;  // of fp32
constexpr int kWarmUps = 3, kMinRepeats = 5, kMaxRepeats = 30;
constexpr double kEnoughUs = 2e5;  // of repeats at one size

std::int64_t rows_of(std::int64_t bytes) { return std::max<std::int64_t>(1, bytes / kRowBytes); }

/// For each rank whether this one sends to it.
using Peers = std::vector<char>;

/// A way to move rows to peers, made for up to `rows` rows to each.
class Mover {
 public:
  virtual ~Mover() = default;
  /// Not timed; collective. Later run() calls move `rows` rows to each of `peers`.
  virtual void prepare(const Peers& peers, std::int64_t rows) = 0;
  /// Not timed, before each run: what the ranks meet in, if anything.
  virtual void meet() {}
  virtual void run() = 0;
};

class Messages final : public Mover {
 public:
  Messages(Bench bench, Comm& comm, std::int64_t rows)
      : comm_(comm),
        rows_(rows),
        send_(bench.backend.memory(), DType::fp32, rows * comm.size(), kColumns),
        recv_(bench.backend.memory(), DType::fp32, rows * comm.size(), kColumns) {
    bench.backend.fill(send_, {1, 1.0f}, 0);
  }
  void prepare(const Peers& peers, std::int64_t rows) override {
    segments_.clear();
    for (std::size_t p = 0; p < peers.size(); ++p)
      segments_.push_back({static_cast<std::int64_t>(p) * rows_, peers[p] ? rows : 0});
  }
  void run() override {
    comm_.exchange_rows(
        {.send = send_, .recv = recv_, .sends = segments_, .recvs = segments_, .segments_per_peer = 1});
  }

 private:
  Comm& comm_;
  std::int64_t rows_;
  Tensor send_, recv_;
  std::vector<Segment> segments_;
};

class Copies final : public Mover {
 public:
  Copies(Bench bench, PeerMemory& memory, int rank, std::int64_t rows)
      : bench_(bench), memory_(memory), rank_(static_cast<std::size_t>(rank)), rows_(rows) {}
  void prepare(const Peers& peers, std::int64_t rows) override { peers_ = peers, sent_ = rows; }
  void run() override {
    const auto& blocks = memory_.blocks();
    for (std::size_t p = 0; p < peers_.size(); ++p)
      if (peers_[p])
        bench_.backend.memory().queue_copy(blocks[p] + rank_ * static_cast<std::size_t>(rows_ * kRowBytes),
                                           blocks[rank_], static_cast<std::size_t>(sent_ * kRowBytes));
  }

 private:
  Bench bench_;
  PeerMemory& memory_;
  std::size_t rank_;
  std::int64_t rows_, sent_ = 0;
  Peers peers_;
};

/// Each rank is an expert; a token has a slot at each peer.
class Stores final : public Mover {
 public:
  Stores(Bench bench, Comm& comm, PeerMemory& memory, const PeerLayout& layout, std::int64_t rows)
      : bench_(bench),
        ranks_(comm.size()),
        x_(bench.backend.memory(), DType::fp32, rows, kColumns),
        words_(bench.backend.memory(), static_cast<std::size_t>(4 * (rows + 5) * ranks_)) {
    bench.backend.fill(x_, {2, 1.0f}, 0);
    PeerGroup group{.rank = comm.rank(),
                    .size = ranks_,
                    .experts = ranks_,
                    .max_tokens = rows,
                    .top_k = ranks_,
                    .hidden = kColumns,
                    .at = layout,
                    .timeout_s = comm.timeout_s()};
    std::copy(memory.blocks().begin(), memory.blocks().end(), group.block);
    std::fill_n(group.tokens, ranks_, static_cast<std::int32_t>(rows));
    kernels_ = bench.backend.make_peer_kernels(group);
    const std::vector<std::int32_t> none(words_.bytes() / 4);
    bench.backend.memory().copy_from_host(words_.data(), none.data(), words_.bytes());
  }
  static PeerLayout layout_of(int ranks, std::int64_t rows) {
    return peer_layout(ranks, ranks, rows, ranks, kRowBytes);
  }
  void prepare(const Peers& peers, std::int64_t rows) override {
    rows_ = rows;
    std::vector<std::int32_t> expert_of;
    for (std::int64_t t = 0; t < rows; ++t)
      for (int p = 0; p < ranks_; ++p) expert_of.push_back(peers[static_cast<std::size_t>(p)] ? p : -1);
    bench_.backend.memory().copy_from_host(array(5), expert_of.data(), expert_of.size() * 4);
  }
  void meet() override {
    const auto n = static_cast<std::size_t>(ranks_);
    kernels_->check();
    kernels_->exchange_counts({.counts = {array(0), n},
                               .first_row = {array(1), n},
                               .local_offsets = {array(2), 2},
                               .own_end = {array(4), 1},
                               .max_rows = 1});
  }
  void run() override {
    kernels_->push({.event = PeerEvent::output_gradients,
                    .x = x_.view().slice(0, rows_),
                    .expert_of = {array(5), static_cast<std::size_t>(rows_ * ranks_)}});
  }

 private:
  /// The i-th array of a number per rank; the fifth has one per row and rank.
  std::int32_t* array(int i) const { return words_.as<std::int32_t>() + i * ranks_; }

  Bench bench_;
  int ranks_;
  Tensor x_;
  Buffer words_;
  std::unique_ptr<PeerKernels> kernels_;
  std::int64_t rows_ = 0;
};

/// Medians over repeats of the slowest rank's time.
LinkPoint timed(Bench bench, Mover& mover) {
  const auto timestamps = bench.backend.make_timestamps(2);
  std::vector<double> times;
  double spent = 0;
  for (int repeat = -kWarmUps; repeat < kMaxRepeats && (repeat < kMinRepeats || spent < kEnoughUs);
       ++repeat) {
    bench.ranks.barrier();
    mover.meet();
    timestamps->record(0);
    mover.run();
    timestamps->record(1);
    bench.backend.synchronize();
    const double mine = timestamps->elapsed_us(0, 1);
    const auto all = bench.ranks.gather({&mine, 1});
    const double slowest = *std::max_element(all.begin(), all.end());
    if (repeat < 0) continue;
    times.push_back(slowest);
    spent += slowest;
  }
  std::sort(times.begin(), times.end());
  const std::size_t n = times.size();
  return {.n = static_cast<int>(n),
          .p50_us = (times[n / 2] + times[(n - 1) / 2]) / 2,
          .min_us = times.front(),
          .max_us = times.back()};
}

class LinkMeasurement {
 public:
  LinkMeasurement(Bench bench, const LinkRequest& request, const std::vector<std::string>& host_of)
      : bench_(bench), request_(request), host_of_(host_of) {}

  Links run() {
    const std::unique_ptr<Comm> comm =
        bench_.ranks.make_comm(bench_.backend.memory(), bench_.backend.stream());
    const std::int64_t rows = rows_of(request_.bytes.back());
    {
      Messages messages(bench_, *comm, rows);
      measure(LinkWay::messages, messages);
    }
    const PeerLayout layout = Stores::layout_of(comm->size(), rows);
    const std::size_t copied = static_cast<std::size_t>(comm->size() * rows * kRowBytes);
    const PeerMemoryResult peers =
        make_peer_memory(*comm, bench_.backend.memory(), std::max(layout.bytes, copied));
    if (!peers.memory) {
      links_.why_not.push_back(cat("copy and store: ", peers.why_not));
      return links_;
    }
    {
      Copies copies(bench_, *peers.memory, comm->rank(), rows);
      measure(LinkWay::copy, copies);
    }
    measure_stores(*comm, *peers.memory, layout, rows);
    bench_.ranks.barrier();  // no rank copies any more: the blocks can go
    return links_;
  }

 private:
  /// What copies have left in the blocks is cleared: flags begin at zero.
  void measure_stores(Comm& comm, PeerMemory& memory, const PeerLayout& layout, std::int64_t rows) {
    if (comm.size() > kMaxPeers) {
      links_.why_not.push_back(cat("store: joins at most ", kMaxPeers, " ranks"));
      return;
    }
    const std::vector<std::byte> zeros(layout.inbox);
    bench_.backend.memory().copy_from_host(memory.blocks()[static_cast<std::size_t>(comm.rank())],
                                           zeros.data(), zeros.size());
    bench_.ranks.barrier();
    Stores stores(bench_, comm, memory, layout, rows);
    bench_.ranks.barrier();
    measure(LinkWay::store, stores);
  }

  void measure(LinkWay way, Mover& mover) {
    const int ranks = bench_.ranks.size();
    const bool one_host = std::all_of(host_of_.begin(), host_of_.end(),
                                      [&](const std::string& host) { return host == host_of_[0]; });
    sweep(mover, {.way = way, .pattern = LinkPattern::all}, request_.bytes);
    if (!one_host)
      for (const LinkPattern pattern : {LinkPattern::host, LinkPattern::hosts})
        sweep(mover, {.way = way, .pattern = pattern}, request_.bytes);
    if (ranks <= 2 || links_.points.empty()) return;
    const std::vector<std::int64_t> largest{static_cast<std::int64_t>(links_.points.back().bytes)};
    for (int a = 0; a < ranks; ++a)
      for (int b = a + 1; b < ranks; ++b)
        sweep(mover, {.way = way, .pattern = LinkPattern::pair, .a = a, .b = b}, largest);
  }

  bool sends(const LinkPoint& point, int from, int to) const {
    const auto host = [&](int rank) -> const std::string& {
      return host_of_[static_cast<std::size_t>(rank)];
    };
    if (from == to) return false;
    switch (point.pattern) {
      case LinkPattern::all:
        return true;
      case LinkPattern::host:
        return host(from) == host(to);
      case LinkPattern::hosts:
        return host(from) != host(to);
      case LinkPattern::pair:
        return std::minmax(from, to) == std::minmax(point.a, point.b);
    }
    MB_ASSERT(false);
  }

  void sweep(Mover& mover, const LinkPoint& what, const std::vector<std::int64_t>& sizes) {
    const int ranks = bench_.ranks.size();
    std::int64_t most = 0;
    Peers mine;
    for (int from = 0; from < ranks; ++from) {
      std::int64_t count = 0;
      for (int to = 0; to < ranks; ++to) {
        count += sends(what, from, to);
        if (from == bench_.ranks.rank()) mine.push_back(sends(what, from, to));
      }
      most = std::max(most, count);
    }
    if (most == 0) return;
    for (const std::int64_t bytes : sizes) {
      mover.prepare(mine, rows_of(bytes));
      LinkPoint point = timed(bench_, mover);
      point.way = what.way, point.pattern = what.pattern, point.a = what.a, point.b = what.b;
      point.bytes = static_cast<double>(rows_of(bytes) * kRowBytes);
      point.peers = static_cast<double>(most);
      links_.points.push_back(point);
      if (point.p50_us > request_.max_repeat_s * 1e6) return;
    }
  }

  Bench bench_;
  const LinkRequest& request_;
  const std::vector<std::string>& host_of_;
  Links links_;
};

}  // namespace

std::string_view name_of(LinkWay way) { return kWays.name(way); }
std::string_view name_of(LinkPattern pattern) { return kPatterns.name(pattern); }
LinkWay parse_link_way(std::string_view word) { return kWays.parse("way", word); }

Links measure_links(Bench bench, const LinkRequest& request, const std::vector<std::string>& host_of) {
  MB_ASSERT(!request.bytes.empty());
  return LinkMeasurement(bench, request, host_of).run();
}

}  // namespace moebench
