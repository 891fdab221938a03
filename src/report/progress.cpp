// SPDX-License-Identifier: Apache-2.0
#include "report/progress.h"

#include <unistd.h>

#include <chrono>
#include <iostream>
#include <utility>

#include "base/text.h"
#include "report/grid.h"
#include "report/quantity.h"
#include "report/terminal.h"

namespace moebench {
namespace {

constexpr std::string_view kPeaks = "measuring peaks";

/// What became of a case without a time. "interrupted by SIGINT" needs no "interrupted:" in front.
std::string outcome_of(const Record& record) {
  const std::string status(name_of(record.status));
  if (record.reason.empty() || record.reason.starts_with(status))
    return record.reason.empty() ? status : record.reason;
  return cat(status, ": ", record.reason);
}

/// "  max/mean 1.25" of the rows over experts, or "  max/mean 1.00 to 2.50" over routing steps.
std::string load_text(const LoadRange& load) {
  if (load.most == 0) return {};
  const std::string least = format("%.2f", load.least), most = format("%.2f", load.most);
  return cat("  max/mean ", least == most ? most : cat(least, " to ", most));
}

}  // namespace

Progress::Progress(std::ostream* out, int columns, std::span<const Case> cases, std::function<double()> now)
    : out_(out), columns_(columns), now_(std::move(now)) {
  for (const Case& bench_case : cases) {
    places_.emplace(id_of(bench_case), places_.size() + 1);
    left_.emplace(id_of(bench_case), peaks_key(bench_case));
  }
}

void Progress::already_measured(const Case& bench_case) {
  left_.erase(id_of(bench_case));
  plain(cat(number(bench_case), bench_case.title(), "  already measured"));
}

void Progress::begin(const Case& bench_case) {
  if (open_++ == 0) began_ = now_();
  peaks_of_this_s_ = 0;
  shown_ = -1;
  live(bench_case, "…");
}

void Progress::phase(const Case& bench_case, std::string_view what) {
  leave_phase();
  if (what == kPeaks) {
    peaks_began_ = now_();
    peaks_done_.insert(peaks_key(bench_case));
  }
  shown_ = -1;
  live(bench_case, cat(what, " …"));
}

void Progress::leave_phase() {
  if (peaks_began_ < 0) return;
  const double took = now_() - peaks_began_;
  peaks_s_ += took;
  peaks_of_this_s_ += took;
  peaks_began_ = -1;
}

void Progress::sampled(const Case& bench_case, const SoFar& so_far) {
  leave_phase();
  const double now = now_();
  if (columns_ == 0 || (shown_ >= 0 && now - shown_ < 0.1)) return;
  shown_ = now;
  live(bench_case, cat(time_text(so_far.median_us), " ±", percent_text(so_far.error_pct)), so_far.load);
}

void Progress::end(const Record& record) {
  leave_phase();
  const double now = now_();
  if (open_ > 0) --open_;
  measured_s_ += now - began_ - peaks_of_this_s_;
  peaks_of_this_s_ = 0;
  began_ = now;
  ++measured_;
  left_.erase(id_of(record.bench_case));
  const std::string label = cat(number(record.bench_case), record.bench_case.title(), "  ");
  if (!has_times(record)) {
    plain(label + outcome_of(record));
    return;
  }
  const Summary& total = record.time.at("total").device;
  const std::string state = cat(time_text(total.p50), " ±", percent_text(median_error_pct(total)));
  const LoadRange load = load_range(record.routing.steps);
  if (columns_ > 0)
    live(record.bench_case, state, load);
  else
    plain(cat(label, state, load_text(load), time_left()));
}

void Progress::note(const std::string& sentence) { plain(sentence); }

/// "[2/12] "
std::string Progress::number(const Case& bench_case) const {
  const auto place = places_.find(id_of(bench_case));
  return cat("[", place == places_.end() ? 1 : place->second, "/", places_.size(), "] ");
}

/// Nothing before the first case has ended, nor while cases take turns: they end together.
std::string Progress::time_left() const {
  if (measured_ == 0 || left_.empty() || open_ > 1) return {};
  double left_s = measured_s_ / static_cast<double>(measured_) * static_cast<double>(left_.size());
  if (!peaks_done_.empty()) {
    std::set<PeaksKey> wanted;
    for (const auto& [id, key] : left_)
      if (!peaks_done_.contains(key)) wanted.insert(key);
    left_s += peaks_s_ / static_cast<double>(peaks_done_.size()) * static_cast<double>(wanted.size());
  }
  if (open_ == 1) left_s -= now_() - began_ - peaks_of_this_s_;
  return cat("  ETA ", clock_text(left_s));
}

/// The figure is what matters: where not all fits, the load goes first, then the label gives way, and before its last words
/// the time left.
void Progress::live(const Case& bench_case, const std::string& state, const LoadRange& load) {
  if (!out_ || columns_ == 0) return;
  const std::string front = number(bench_case), title = bench_case.title();
  std::string rows = load_text(load), left = time_left();
  const auto wide = [&](const std::string& text) { return static_cast<int>(display_width(text)); };
  const auto room = [&] { return columns_ - 1 - wide(front) - 2 - wide(state) - wide(rows) - wide(left); };
  constexpr int kReadable = 12;
  if (room() < wide(title)) rows.clear();
  if (room() < std::min(kReadable, wide(title))) left.clear();
  const std::string label = shortened(title, static_cast<std::size_t>(std::max(0, room())));
  const std::string line = cat(front, label, label.empty() ? "" : "  ", state, rows, left);
  *out_ << "\r\033[K" << cut(line, static_cast<std::size_t>(columns_ - 1)) << std::flush;
  line_open_ = true;
}

void Progress::plain(const std::string& line) {
  if (!out_) return;
  clear();
  *out_ << broken(line, static_cast<std::size_t>(columns_), "  ") << std::flush;
}

void Progress::clear() {
  if (out_ && line_open_) *out_ << "\r\033[K" << std::flush;
  line_open_ = false;
}

Progress make_progress(std::span<const Case> cases, bool quiet) {
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  return Progress(quiet ? nullptr : &std::cerr, terminal_columns(STDERR_FILENO), cases, now);
}

}  // namespace moebench
