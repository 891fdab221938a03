// SPDX-License-Identifier: Apache-2.0
#include "bench/timeline.h"

#include <algorithm>

#include "base/error.h"
#include "bench/statistics.h"

namespace moebench {

void SliceTrace::open(std::optional<Pass> pass, std::optional<Stage> stage) {
  open_.push_back(entries_.size());
  entries_.push_back({.slice = {.iteration = iteration_, .pass = pass, .stage = stage}, .begin = next_mark_});
  timestamps_->record(next_mark_++);
}

void SliceTrace::close() {
  MB_ASSERT(!open_.empty());
  entries_[open_.back()].end = next_mark_;
  open_.pop_back();
  timestamps_->record(next_mark_++);
}

std::vector<Slice> SliceTrace::slices() const {
  MB_ASSERT(open_.empty());
  std::vector<Slice> slices;
  for (const Entry& entry : entries_) {
    slices.push_back(entry.slice);
    slices.back().begin_us = timestamps_->elapsed_us(0, entry.begin);
    slices.back().end_us = timestamps_->elapsed_us(0, entry.end);
  }
  return slices;
}

Timeline timeline_of(const Case& bench_case, World& ranks, const std::vector<Slice>& mine) {
  struct Span {
    double begin_us, end_us;
  };
  std::vector<Span> spans;  // every rank runs the same stages, so only the times differ
  for (const Slice& slice : mine) spans.push_back({slice.begin_us, slice.end_us});
  const auto all = gather_by_rank(ranks, std::span<const Span>(spans));
  Timeline timeline{bench_case, {}};
  double earliest = 0;
  for (const auto& rank : all) {
    std::vector<double> ahead;  // of rank 0, at the beginning of each iteration
    for (std::size_t i = 0; i < mine.size(); ++i)
      if (!mine[i].pass) ahead.push_back(all.front()[i].begin_us - rank[i].begin_us);
    std::sort(ahead.begin(), ahead.end());
    const double shift = percentile(ahead, 50);
    std::vector<Slice> slices = mine;
    for (std::size_t i = 0; i < slices.size(); ++i) {
      slices[i].begin_us = rank[i].begin_us + shift;
      slices[i].end_us = rank[i].end_us + shift;
      earliest = std::min(earliest, slices[i].begin_us);
    }
    timeline.ranks.push_back(std::move(slices));
  }
  for (auto& slices : timeline.ranks)
    for (Slice& slice : slices) {
      slice.begin_us -= earliest;
      slice.end_us -= earliest;
    }
  return timeline;
}

}  // namespace moebench
