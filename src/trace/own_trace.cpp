// SPDX-License-Identifier: Apache-2.0
// moebench's own format. Little endian. A head of 32 bytes:
//   "MOEROUTE", u32 version = 1, u32 0, i64 experts (0: not known), i64 top-k (0: only counts)
// then frames, each a head of 40 bytes and what it announces:
//   u32 kind, u32 bytes per element, i64 step, i64 layer, i64 tokens, u64 bytes that follow
//   kind 1: experts [tokens, K] of 1, 2 or 4 bytes each
//   kind 2: the same, then weights [tokens, K] fp32
//   kind 3: counts [E] of 8 bytes each; tokens is 0
//   kind 0: the end; tokens is the number of frames before it
// A file without the end was cut. Frames that are not wanted are skipped without being read.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "trace/output_file.h"
#include "trace/trace_reader.h"

namespace moebench {
namespace {

constexpr char kMagic[8] = {'M', 'O', 'E', 'R', 'O', 'U', 'T', 'E'};
constexpr std::uint32_t kVersion = 1;

struct Head {
  char magic[8];
  std::uint32_t version, zero;
  std::int64_t experts, top_k;
};
static_assert(sizeof(Head) == 32);

enum FrameKind : std::uint32_t { kEnd = 0, kExperts = 1, kWeighted = 2, kCounts = 3 };

struct Frame {
  std::uint32_t kind, width;
  std::int64_t step, layer, tokens;
  std::uint64_t bytes;
};
static_assert(sizeof(Frame) == 40);

class OwnReader final : public TraceReader {
 public:
  explicit OwnReader(std::unique_ptr<ByteSource> source) : source_(std::move(source)) {
    const auto head = source_->read_as<Head>(0);
    if (std::memcmp(head.magic, kMagic, sizeof kMagic) != 0) source_->refuse(0, "not a trace of moebench");
    if (head.version != kVersion)
      source_->refuse(8, cat("version ", head.version, "; this program reads ", kVersion));
    if (head.experts < 0 || head.experts > kMostTraceExperts)
      source_->refuse(16, cat(head.experts, " experts; valid: 0 to ", kMostTraceExperts));
    if (head.top_k < 0 || head.top_k > kMostTraceTopK)
      source_->refuse(24, cat("top-k ", head.top_k, "; valid: 0 to ", kMostTraceTopK));
    info_ = {"moebench", head.experts, head.top_k};
  }

  const TraceInfo& info() const override { return info_; }
  std::string sha256() const override { return source_->sha256(); }

  bool next(TraceStep& step, const WantStep& want) override {
    while (!ended_) {
      const std::uint64_t place = at_;
      const auto frame = source_->read_as<Frame>(place);
      at_ += sizeof frame;
      if (frame.kind == kEnd) {
        if (frame.tokens != frames_)
          source_->refuse(place, cat("announces ", frame.tokens, " steps, but ", frames_, " are there"));
        if (at_ != source_->size()) source_->refuse(at_, "more bytes after the end");
        ended_ = true;
        break;
      }
      require_consistent(place, frame);
      source_->require(at_, frame.bytes, 1);
      ++frames_;
      if (want(frame.step, frame.layer)) {
        read(frame, step);
        at_ += frame.bytes;
        return true;
      }
      at_ += frame.bytes;
    }
    return false;
  }

 private:
  void require_consistent(std::uint64_t place, const Frame& frame) const {
    if (frame.kind > kCounts) source_->refuse(place, cat("kind ", frame.kind, "; valid: 0 to 3"));
    if (frame.kind == kCounts) {
      if (frame.width != 8 || frame.tokens != 0 || info_.experts == 0 ||
          frame.bytes != static_cast<std::uint64_t>(info_.experts) * 8)
        source_->refuse(place, cat(frame.bytes, " bytes of counts do not fit ", info_.experts, " experts"));
      return;
    }
    if (frame.width != 1 && frame.width != 2 && frame.width != 4)
      source_->refuse(place + 4, cat(frame.width, " bytes per expert; valid: 1, 2, 4"));
    if (info_.top_k == 0 || frame.tokens < 0 || frame.tokens > kMostTraceSlots / info_.top_k)
      source_->refuse(place, cat(frame.tokens, " tokens with top-k ", info_.top_k, "; at most ",
                                 kMostTraceSlots, " slots"));
    const std::uint64_t each = frame.width + (frame.kind == kWeighted ? sizeof(float) : 0);
    if (frame.bytes != static_cast<std::uint64_t>(frame.tokens * info_.top_k) * each)
      source_->refuse(
          place, cat(frame.bytes, " bytes do not fit ", frame.tokens, " tokens with top-k ", info_.top_k));
  }

  void read(const Frame& frame, TraceStep& step) const {
    step = {.step = frame.step, .layer = frame.layer, .tokens = frame.tokens};
    if (frame.kind == kCounts) {
      step.counts = source_->read_many<std::int64_t>(at_, static_cast<std::uint64_t>(info_.experts));
      for (const std::int64_t count : step.counts)
        if (count < 0 || count > kMostTraceSlots) source_->refuse(at_, cat("a count of ", count));
      return;
    }
    const auto slots = static_cast<std::uint64_t>(frame.tokens * info_.top_k);
    const auto widen = [&](auto narrow) {
      const auto values = source_->read_many<decltype(narrow)>(at_, slots);
      step.experts.assign(values.begin(), values.end());
    };
    if (frame.width == 1) widen(std::uint8_t{});
    if (frame.width == 2) widen(std::uint16_t{});
    if (frame.width == 4) widen(std::int32_t{});
    require_lawful(*source_, at_, step, info_);
    if (frame.kind == kWeighted) step.weights = source_->read_many<float>(at_ + slots * frame.width, slots);
  }

  std::unique_ptr<ByteSource> source_;
  TraceInfo info_;
  std::uint64_t at_ = sizeof(Head);
  std::int64_t frames_ = 0;
  bool ended_ = false;
};

class OwnWriter final : public TraceWriter {
 public:
  OwnWriter(const std::string& path, const TraceInfo& info) : file_(path), info_(info) {
    Head head{.version = kVersion, .zero = 0, .experts = info.experts, .top_k = info.top_k};
    std::memcpy(head.magic, kMagic, sizeof kMagic);
    file_.write_value(head);
  }

  void add(const TraceStep& step) override {
    ++frames_;
    if (step.experts.empty() && !step.counts.empty()) return add_counts(step);
    const std::int32_t most =
        step.experts.empty() ? 0 : *std::max_element(step.experts.begin(), step.experts.end());
    const std::uint32_t width = most < 256 ? 1 : most < 65536 ? 2 : 4;
    const std::uint64_t slots = step.experts.size();
    const bool weighted = !step.weights.empty();
    file_.write_value(Frame{.kind = weighted ? kWeighted : kExperts,
                            .width = width,
                            .step = step.step,
                            .layer = step.layer,
                            .tokens = step.tokens,
                            .bytes = slots * (width + (weighted ? sizeof(float) : 0))});
    const auto narrow = [&](auto type) {
      const std::vector<decltype(type)> values(step.experts.begin(), step.experts.end());
      file_.write_all(std::span(values));
    };
    if (width == 1) narrow(std::uint8_t{});
    if (width == 2) narrow(std::uint16_t{});
    if (width == 4) narrow(std::int32_t{});
    file_.write_all(std::span(step.weights));
  }

  void finish() override {
    file_.write_value(Frame{.kind = kEnd, .width = 0, .step = 0, .layer = 0, .tokens = frames_, .bytes = 0});
    file_.finish();
  }

 private:
  void add_counts(const TraceStep& step) {
    file_.write_value(Frame{.kind = kCounts,
                            .width = 8,
                            .step = step.step,
                            .layer = step.layer,
                            .tokens = 0,
                            .bytes = step.counts.size() * 8});
    file_.write_all(std::span(step.counts));
  }

  OutputFile file_;
  TraceInfo info_;
  std::int64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<TraceReader> read_own_trace(std::unique_ptr<ByteSource> source) {
  return std::make_unique<OwnReader>(std::move(source));
}

std::unique_ptr<TraceWriter> write_own_trace(const std::string& path, const TraceInfo& info) {
  return std::make_unique<OwnWriter>(path, info);
}

}  // namespace moebench
