// SPDX-License-Identifier: Apache-2.0
#include "report/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "report/grid.h"
#include "report/quantity.h"

namespace moebench {
namespace {

/// The first `columns` characters of UTF-8 `text`.
std::string cut(std::string_view text, std::size_t columns) {
  std::size_t end = 0;
  for (std::size_t seen = 0; end < text.size(); ++end) {
    const bool begins = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
    if (begins && seen++ == columns) break;
  }
  return std::string(text.substr(0, end));
}

}  // namespace

Progress::Progress(std::ostream* out, int columns, int cases, std::function<double()> now)
    : out_(out), columns_(columns), cases_(cases), now_(std::move(now)) {}

void Progress::held(const Case& measured) {
  plain(label(measured) + "  held");
  ++finished_;
}

void Progress::begin(const Case& measured) {
  began_ = now_();
  running_ = true;
  shown_ = -1;
  label_ = label(measured);
  live(cat(label_, "  …", time_left()));
}

void Progress::sampled(double median_us, double error_pct) {
  const double now = now_();
  if (columns_ == 0 || (shown_ >= 0 && now - shown_ < 0.1)) return;
  shown_ = now;
  live(cat(label_, "  ", time_text(median_us), " ±", percent_text(error_pct), time_left()));
}

void Progress::phase(std::string_view name) { live(cat(label_, "  ", name, time_left())); }

void Progress::end(const Record& record) {
  measured_s_ += now_() - began_;
  running_ = false;
  ++measured_;
  ++finished_;
  if (!has_times(record)) {
    plain(cat(label_, "  ", name_of(record.status), record.reason.empty() ? "" : ": ", record.reason));
    return;
  }
  const Summary& total = record.time.at("total").device;
  const auto line =
      cat(label_, "  ", time_text(total.p50), " ±", percent_text(median_error_pct(total)), time_left());
  if (columns_ > 0)
    live(line);
  else
    plain(line);
}

void Progress::note(const std::string& sentence) { plain(sentence); }

std::string Progress::label(const Case& measured) const {
  return cat("[", finished_ + 1, "/", cases_, "] ", measured.title());
}

std::string Progress::time_left() const {
  if (measured_ == 0 || finished_ >= cases_) return {};
  const double spent_on_this = running_ ? now_() - began_ : 0;
  return cat("  ETA ", clock_text(measured_s_ / measured_ * (cases_ - finished_) - spent_on_this));
}

void Progress::live(const std::string& line) {
  if (!out_ || columns_ == 0) return;
  *out_ << "\r\033[K" << cut(line, static_cast<std::size_t>(columns_ - 1)) << std::flush;
  line_open_ = true;
}

void Progress::plain(const std::string& line) {
  if (!out_) return;
  clear();
  *out_ << line << std::endl;
}

void Progress::clear() {
  if (out_ && line_open_) *out_ << "\r\033[K" << std::flush;
  line_open_ = false;
}

Progress make_progress(int cases, bool quiet) {
  winsize window{};
  const char* kind = std::getenv("TERM");
  const bool terminal = isatty(STDERR_FILENO) && kind && std::string_view(kind) != "dumb";
  int columns = 0;
  if (terminal)
    columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col : 80;
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  return Progress(quiet ? nullptr : &std::cerr, columns, cases, now);
}

}  // namespace moebench
