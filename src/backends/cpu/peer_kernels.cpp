// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/peer_kernels.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/deadline.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"

namespace moebench::cpu {
namespace {

constexpr std::int64_t kTokenGrain = 8;

class CpuPeerKernels final : public PeerKernels {
 public:
  CpuPeerKernels(const PeerGroup& group, ThreadPool& pool) : g_(group), pool_(pool) {}

  void start_together() override { meet(PeerEvent::start, ++starts_); }

  void exchange_counts(const PeerCounts& args) override {
    ++step_;
    for (int p = 0; p < g_.size; ++p)
      std::copy(args.counts.begin(), args.counts.end(), counts(p) + g_.rank * g_.experts);
    meet(PeerEvent::counts);
    lay_out(args);
  }

  void push(const PeerPush& args) override {
    if (args.counts) exchange_counts(*args.counts);
    each_token(args.x.rows, [&](std::int64_t t) {
      const std::int32_t* expert_of = args.expert_of.data() + t * g_.top_k;
      for (int p = 0; p < g_.size; ++p) {
        if (args.event == PeerEvent::rows) describe_slots(args, t, p);
        if (p == g_.rank || !has_expert(expert_of, p)) continue;
        std::memcpy(inbox(p, g_.rank, t), args.x.as<float>() + t * g_.hidden, row_bytes());
      }
    });
    if (args.dots) dot(args.x, args.expert_of);
    if (args.own_rows.data && args.event == PeerEvent::rows)
      spread({.x = args.x, .rows = args.own_rows, .of = PeerTokens::own, .return_to = args.return_to});
    if (args.own_rows.data && args.event == PeerEvent::output_gradients)
      scale({.dy = args.x, .out = {}, .drows = args.own_rows, .of = PeerTokens::own});
    arrive(args.event, args.beside);
  }

  void spread(const PeerSpread& args) override {
    each_slot(args.x, args.of, [&](std::int64_t slot, std::int64_t row, const float* token) {
      std::memcpy(args.rows.as<float>() + row * g_.hidden, token, row_bytes());
      if (args.return_to.empty()) return;
      const std::int64_t slots = g_.max_tokens * g_.top_k;
      args.return_to[static_cast<std::size_t>(row)] = reinterpret_cast<std::byte*>(
          at<float>(static_cast<int>(slot / slots), g_.at.by_slot) + slot % slots * g_.hidden);
    });
  }

  void reduce(const PeerReduce& args) override {
    for (int p = 0; p < g_.size; ++p) {
      if (p == g_.rank) continue;
      each_token(g_.tokens[p], [&](std::int64_t t) {
        if (!has_row(p, t)) return;
        float* const to = at<float>(p, g_.at.partial) + (g_.rank * g_.max_tokens + t) * g_.hidden;
        std::fill_n(to, g_.hidden, 0.0f);
        add_rows(args.rows, p, t, args.weighted, to);
      });
    }
    arrive(args.event, args.beside);
  }

  void wait_for(PeerEvent event) override { await(event, step_); }

  void sum(const PeerSum& args) override {
    each_token(args.y.rows, [&](std::int64_t t) {
      float* const y = args.y.as<float>() + t * g_.hidden;
      const std::int32_t* expert_of = args.expert_of.data() + t * g_.top_k;
      std::fill_n(y, g_.hidden, 0.0f);
      if (g_.returns_by_slot) return add_slots(expert_of, t, args.weighted, y);
      for (int p = 0; p < g_.size; ++p) {
        if (!has_expert(expert_of, p)) continue;
        if (p == g_.rank) {
          add_rows(args.rows, p, t, args.weighted, y);
          continue;
        }
        const float* from = at<float>(g_.rank, g_.at.partial) + (p * g_.max_tokens + t) * g_.hidden;
        for (std::int64_t i = 0; i < g_.hidden; ++i) y[i] += from[i];
      }
    });
    for (std::size_t slot = 0; slot < args.dscore.size(); ++slot)
      args.dscore[slot] = args.expert_of[slot] >= 0 ? at<float>(g_.rank, g_.at.dscore)[slot] : 0;
  }

  void scale(const PeerScale& args) override {
    each_slot(args.dy, args.of, [&](std::int64_t slot, std::int64_t row, const float* dy) {
      const std::int64_t slots = g_.max_tokens * g_.top_k;
      float* const drow = args.drows.as<float>() + row * g_.hidden;
      const float score = scores()[slot];
      for (std::int64_t i = 0; i < g_.hidden; ++i) drow[i] = score * dy[i];
      if (args.out.data)
        at<float>(static_cast<int>(slot / slots), g_.at.dscore)[slot % slots] =
            dot_of(dy, args.out.as<float>() + row * g_.hidden);
    });
  }

  void send_dscore(std::span<const float> dscore) override {
    const std::int64_t slots = g_.max_tokens * g_.top_k;
    for (int p = 0; p < g_.size; ++p)
      for (std::int64_t slot = 0; slot < g_.tokens[p] * g_.top_k; ++slot)
        if (slots_at(g_.rank)[p * slots + slot] >= 0)
          at<float>(p, g_.at.dscore)[slot] = dscore[static_cast<std::size_t>(p * slots + slot)];
  }

  void finish(PeerEvent event) override { meet(event); }

  void check() override {}  // waits throw themselves

 private:
  template <class T>
  T* at(int rank, std::size_t offset) const {
    return reinterpret_cast<T*>(g_.block[static_cast<std::size_t>(rank)] + offset);
  }
  std::int32_t* counts(int rank) const { return at<std::int32_t>(rank, g_.at.counts); }
  std::int32_t* slots_at(int rank) const { return at<std::int32_t>(rank, g_.at.row_of); }
  const float* scores() const { return at<float>(g_.rank, g_.at.score); }
  float* inbox(int rank, int from, std::int64_t t) const {
    return at<float>(rank, g_.at.inbox) + (from * g_.max_tokens + t) * g_.hidden;
  }
  std::size_t row_bytes() const { return static_cast<std::size_t>(g_.hidden) * sizeof(float); }
  std::atomic_ref<std::uint32_t> flag(int rank, PeerEvent event, int writer) const {
    return std::atomic_ref(at<std::uint32_t>(rank, g_.at.flags)[static_cast<int>(event) * g_.size + writer]);
  }

  void meet(PeerEvent event) { meet(event, step_); }
  void meet(PeerEvent event, std::uint32_t step) {
    publish(event, step);
    await(event, step);
  }
  /// Says at every rank that this one has reached `step` of `event`.
  void publish(PeerEvent event, std::uint32_t step) {
    for (int p = 0; p < g_.size; ++p) flag(p, event, g_.rank).store(step, std::memory_order_release);
  }
  /// Waits until all ranks have reached it.
  void await(PeerEvent event, std::uint32_t step) {
    Deadline deadline(g_.timeout_s);
    for (int p = 0; p < g_.size; ++p)
      for (int looks = 0;
           static_cast<std::int32_t>(flag(g_.rank, event, p).load(std::memory_order_acquire) - step) < 0;
           ++looks) {
        if (looks < 200) continue;
        sched_yield();
        if (looks > 2000) usleep(50);
        throw_if_interrupted();
        if (deadline.passed())
          throw TimeoutError(cat("rank ", g_.first_rank + g_.rank, " waited ", g_.timeout_s, " s for ",
                                 awaited(event), " from rank ", g_.first_rank + p));
      }
  }

  /// Of a push or reduce. Beside other work the wait is left to wait_for(): there is no second thread.
  void arrive(PeerEvent event, bool beside) { beside ? publish(event, step_) : meet(event); }

  /// The p-th rank whose rows lie at each expert of `owner`: the owner first.
  int rank_in_order(int owner, int p) const { return (owner + p) % g_.size; }

  void lay_out(const PeerCounts& args) const {
    const std::int32_t* all = counts(g_.rank);
    for (int owner = 0; owner < g_.size; ++owner) {
      std::int32_t row = 0;
      for (std::int64_t i = 0; i < g_.experts_per_rank(); ++i) {
        const std::int64_t e = owner * g_.experts_per_rank() + i;
        if (owner == g_.rank) args.local_offsets[static_cast<std::size_t>(i)] = row;
        if (owner == g_.rank) args.own_end[static_cast<std::size_t>(i)] = row + all[owner * g_.experts + e];
        for (int at = 0; at < g_.size; ++at) {
          const int p = rank_in_order(owner, at);
          if (p == g_.rank) args.first_row[static_cast<std::size_t>(e)] = row;
          row += all[p * g_.experts + e];
        }
      }
      if (owner == g_.rank) args.local_offsets.back() = row;
      if (owner == g_.rank && row > args.max_rows)
        throw DeviceError(cat("rank ", g_.first_rank + g_.rank, " received ", row,
                              " rows, more than any input had before"));
    }
  }

  /// Where token t's slots lie at rank p.
  void describe_slots(const PeerPush& args, std::int64_t t, int p) const {
    for (std::int64_t slot = t * g_.top_k; slot < (t + 1) * g_.top_k; ++slot) {
      const std::int32_t e = args.expert_of[static_cast<std::size_t>(slot)];
      const std::int64_t there = g_.rank * g_.max_tokens * g_.top_k + slot;
      const bool here = e >= 0 && e / g_.experts_per_rank() == p;
      slots_at(p)[there] = here ? args.first_row[e] + args.row_of[slot] - args.offsets[e] : -1;
      at<float>(p, g_.at.score)[there] = args.score[static_cast<std::size_t>(slot)];
    }
  }

  bool has_expert(const std::int32_t* expert_of, int rank) const {
    return std::any_of(expert_of, expert_of + g_.top_k,
                       [&](std::int32_t e) { return e >= 0 && e / g_.experts_per_rank() == rank; });
  }
  bool has_row(int from, std::int64_t t) const {
    const std::int32_t* rows = slots_at(g_.rank) + (from * g_.max_tokens + t) * g_.top_k;
    return std::any_of(rows, rows + g_.top_k, [](std::int32_t row) { return row >= 0; });
  }
  void dot(const TensorView& dy, std::span<const std::int32_t> expert_of) const {
    each_token(dy.rows, [&](std::int64_t t) {
      for (std::int64_t slot = t * g_.top_k; slot < (t + 1) * g_.top_k; ++slot)
        if (expert_of[static_cast<std::size_t>(slot)] >= 0)
          at<float>(g_.rank, g_.at.dscore)[slot] = dot_of(dy.as<float>() + t * g_.hidden, by_slot(slot));
    });
  }
  const float* by_slot(std::int64_t slot) const {
    return at<float>(g_.rank, g_.at.by_slot) + slot * g_.hidden;
  }
  float dot_of(const float* a, const float* b) const {
    float dot = 0;
    for (std::int64_t i = 0; i < g_.hidden; ++i) dot += a[i] * b[i];
    return dot;
  }
  /// to += the rows that returned for token t of this rank.
  void add_slots(const std::int32_t* expert_of, std::int64_t t, bool weighted, float* to) const {
    for (std::int64_t j = 0; j < g_.top_k; ++j) {
      if (expert_of[j] < 0) continue;
      const std::int64_t slot = t * g_.top_k + j;
      const float weight = weighted ? scores()[g_.rank * g_.max_tokens * g_.top_k + slot] : 1.0f;
      const float* const in = by_slot(slot);
      for (std::int64_t i = 0; i < g_.hidden; ++i) to[i] += weight * in[i];
    }
  }
  void add_rows(const TensorView& rows, int from, std::int64_t t, bool weighted, float* to) const {
    for (std::int64_t j = 0; j < g_.top_k; ++j) {
      const std::int64_t slot = (from * g_.max_tokens + t) * g_.top_k + j;
      const std::int64_t row = slots_at(g_.rank)[slot];
      if (row < 0) continue;
      const float weight = weighted ? scores()[slot] : 1.0f;
      const float* const in = rows.as<float>() + row * g_.hidden;
      for (std::int64_t i = 0; i < g_.hidden; ++i) to[i] += weight * in[i];
    }
  }

  template <class Body>
  void each_token(std::int64_t tokens, Body body) const {
    pool_.parallel_for(tokens, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) body(t);
    });
  }
  /// body(slot of [P, M, K], row, the token's row of [T, H]) for every slot with a row here.
  template <class Body>
  void each_slot(const TensorView& own, PeerTokens of, Body body) const {
    for (int p = 0; p < g_.size; ++p) {
      if (of != PeerTokens::all && (of == PeerTokens::own) != (p == g_.rank)) continue;
      each_token(g_.tokens[p], [&](std::int64_t t) {
        const float* token = p == g_.rank ? own.as<float>() + t * g_.hidden : inbox(g_.rank, p, t);
        for (std::int64_t slot = (p * g_.max_tokens + t) * g_.top_k, end = slot + g_.top_k; slot < end;
             ++slot)
          if (const std::int64_t row = slots_at(g_.rank)[slot]; row >= 0) body(slot, row, token);
      });
    }
  }

  PeerGroup g_;
  ThreadPool& pool_;
  std::uint32_t step_ = 0, starts_ = 0;
};

}  // namespace

std::unique_ptr<PeerKernels> make_peer_kernels(const PeerGroup& group, ThreadPool& pool) {
  return std::make_unique<CpuPeerKernels>(group, pool);
}

}  // namespace moebench::cpu
