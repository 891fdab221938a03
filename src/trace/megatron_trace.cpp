// SPDX-License-Identifier: Apache-2.0
// What Megatron-LM's router tracer writes (megatron/core/transformer/moe/router_trace.py): router_trace_rank{r}.jsonl, one
// object per line, step and layer, with "top_indices" [[…]] in ascending order, and no weights. The tokens of the ranks are
// laid one after the other. Layer l of MTP block i is
// layer 10000 + 100·i + l here. The side files of hidden states and logits
// are not looked at.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/sha256.h"
#include "base/text.h"
#include "trace/output_file.h"
#include "trace/trace_reader.h"

namespace moebench {
namespace {

constexpr std::uint64_t kMostLine = std::uint64_t{1} << 28;
constexpr std::int64_t kFirstMtpLayer = 10000, kMtpLayers = 100;

struct Line {
  std::uint64_t place = 0;
  std::string stage, block;
  std::int64_t step = -1, layer = -1, mtp = -1, tokens = -1, top_k = -1;
  std::vector<std::int32_t> experts;
  std::int64_t rows = 0;
};

/// Takes the values of a line as they are parsed: no tree of a line that can be megabytes.
class LineTaker final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit LineTaker(Line& line) : line_(line) {}
  std::string why;  ///< what is wrong, if parsing stopped

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t value) override { return number(value); }
  bool number_unsigned(number_unsigned_t value) override {
    return number(value > std::uint64_t{1} << 62 ? std::int64_t{1} << 62 : static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t, const string_t&) override {
    return !in_experts() || stop("a real number among the experts");
  }
  bool string(string_t& value) override {
    if (in_experts()) return stop("a text among the experts");
    if (depth_ == 1 && key_ == "stage") line_.stage = value;
    if (depth_ == 1 && key_ == "block") line_.block = value;
    return true;
  }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override {
    return enter(!in_experts() || stop("an object among the experts"));
  }
  bool end_object() override { return leave(); }
  bool key(string_t& value) override {
    if (depth_ == 1) key_ = value;
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ == 0) return stop("not an object");
    if (in_experts() && depth_ > 2) return stop("top_indices is nested too deep");
    if (in_experts() && depth_ == 2) row_begin_ = line_.experts.size();
    return enter(true);
  }
  bool end_array() override {
    leave();
    if (!in_experts() || depth_ != 2) return true;
    ++line_.rows;
    const auto width = static_cast<std::int64_t>(line_.experts.size() - row_begin_);
    if (width_ >= 0 && width != width_) return stop("rows of top_indices differ in length");
    width_ = width;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return stop(cat("not JSON at character ", position));
  }
  std::int64_t width() const { return width_; }

 private:
  bool in_experts() const { return depth_ >= 1 && key_ == "top_indices"; }
  bool enter(bool on) {
    ++depth_;
    return on;
  }
  bool leave() {
    --depth_;
    return true;
  }
  bool stop(std::string reason) {
    if (why.empty()) why = std::move(reason);
    return false;
  }
  bool number(std::int64_t value) {
    if (in_experts()) {
      if (depth_ != 3) return stop("top_indices is not a list of rows");
      if (std::ssize(line_.experts) >= kMostTraceSlots)
        return stop(cat("more than ", kMostTraceSlots, " slots"));
      line_.experts.push_back(value >= 0 && value < kMostTraceExperts ? static_cast<std::int32_t>(value)
                                                                      : -1);
      return true;
    }
    if (depth_ != 1) return true;
    if (key_ == "step") line_.step = value;
    if (key_ == "layer") line_.layer = value;
    if (key_ == "mtp_idx") line_.mtp = value;
    if (key_ == "num_tokens") line_.tokens = value;
    if (key_ == "topk") line_.top_k = value;
    return true;
  }

  Line& line_;
  std::string key_;
  int depth_ = 0;
  std::size_t row_begin_ = 0;
  std::int64_t width_ = -1;
};

/// One rank's file, line by line.
class RankLines {
 public:
  explicit RankLines(std::unique_ptr<ByteSource> source) : source_(std::move(source)) {}
  const ByteSource& source() const { return *source_; }

  bool next(Line& line) {
    std::string text;
    do {
      if (!take(text, line)) return false;
    } while (trimmed(text).empty());
    LineTaker taker(line);
    if (!nlohmann::json::sax_parse(text, &taker)) source_->refuse(line.place, taker.why);
    if (line.step < 0 || line.layer < 0 || line.tokens < 0 || line.top_k < 1)
      source_->refuse(line.place, "needs step, layer, num_tokens and topk of at least 0, 0, 0 and 1");
    if (line.top_k > kMostTraceTopK)
      source_->refuse(line.place, cat("topk ", line.top_k, "; at most ", kMostTraceTopK));
    if (line.rows != line.tokens || (line.rows > 0 && taker.width() != line.top_k))
      source_->refuse(line.place, cat("top_indices has ", line.rows, " rows of ", taker.width(),
                                      "; announced are ", line.tokens, " of ", line.top_k));
    if (line.block == "mtp")
      line.layer = kFirstMtpLayer + kMtpLayers * std::clamp<std::int64_t>(line.mtp, 0, 1000) + line.layer;
    return true;
  }

 private:
  /// The next line without its end; false at the end of the file.
  bool take(std::string& text, Line& line) {
    text.clear();
    line = {.place = at_};
    for (;;) {
      if (begin_ == part_.size()) {
        const std::uint64_t left = source_->size() - at_;
        if (left == 0) return !text.empty();
        part_ = source_->read_many<char>(at_, std::min<std::uint64_t>(left, kPart));
        begin_ = 0;
      }
      const auto end = std::find(part_.begin() + static_cast<std::ptrdiff_t>(begin_), part_.end(), '\n');
      const auto until = static_cast<std::size_t>(end - part_.begin());
      text.append(part_.data() + begin_, until - begin_);
      if (text.size() > kMostLine)
        source_->refuse(line.place, cat("a line of more than ", kMostLine, " bytes"));
      at_ += until - begin_;
      begin_ = until;
      if (end == part_.end()) continue;
      ++at_, ++begin_;
      return true;
    }
  }

  static constexpr std::uint64_t kPart = std::uint64_t{1} << 20;
  std::unique_ptr<ByteSource> source_;
  std::uint64_t at_ = 0;
  std::vector<char> part_;  ///< read ahead; at_ is the place of part_[begin_]
  std::size_t begin_ = 0;
};

class MegatronReader final : public TraceReader {
 public:
  explicit MegatronReader(std::vector<std::unique_ptr<ByteSource>> ranks) {
    for (auto& source : ranks) ranks_.emplace_back(std::move(source));
    MB_ASSERT(!ranks_.empty());
    const bool any = fetch();
    if (!any) ranks_.front().source().refuse(0, "no line");
    info_ = {"megatron", 0, lines_.front().top_k};
  }
  const TraceInfo& info() const override { return info_; }
  std::string sha256() const override {
    std::vector<std::string> hashes;
    for (const RankLines& rank : ranks_) hashes.push_back(rank.source().sha256());
    if (hashes.size() == 1) return hashes.front();
    Sha256 of_all;
    of_all.add(join(hashes, "\n"));
    return of_all.hex();
  }

  bool next(TraceStep& step, const WantStep& want) override {
    for (; fetched_ || fetch(); fetched_ = false) {
      const Line& first = lines_.front();
      if (!want(first.step, first.layer)) continue;
      fetched_ = false;
      step = {.step = first.step, .layer = first.layer};
      for (std::size_t r = 0; r < ranks_.size(); ++r) {
        const TraceStep part{.tokens = lines_[r].tokens, .experts = lines_[r].experts};
        require_lawful(ranks_[r].source(), lines_[r].place, part, info_);
        step.tokens += part.tokens;
        step.experts.insert(step.experts.end(), part.experts.begin(), part.experts.end());
      }
      if (std::ssize(step.experts) > kMostTraceSlots)
        ranks_.front().source().refuse(first.place,
                                       cat("more than ", kMostTraceSlots, " slots over all ranks"));
      return true;
    }
    return false;
  }

 private:
  /// A line of every rank, all of one step and layer.
  bool fetch() {
    lines_.assign(ranks_.size(), {});
    const bool more = ranks_.front().next(lines_.front());
    for (std::size_t r = 1; r < ranks_.size(); ++r) {
      const bool also = ranks_[r].next(lines_[r]);
      const Line &line = lines_[r], &first = lines_.front();
      if (also != more)
        ranks_[r].source().refuse(line.place, "has not as many lines as the first rank's file");
      if (more && (line.step != first.step || line.layer != first.layer || line.top_k != first.top_k))
        ranks_[r].source().refuse(
            line.place, cat("is step ", line.step, " of layer ", line.layer, "; the first rank's is step ",
                            first.step, " of layer ", first.layer));
    }
    if (more && info_.top_k > 0 && lines_.front().top_k != info_.top_k)
      ranks_.front().source().refuse(lines_.front().place,
                                     cat("topk ", lines_.front().top_k, " after ", info_.top_k));
    return fetched_ = more;
  }

  std::vector<RankLines> ranks_;
  std::vector<Line> lines_;
  bool fetched_ = false;
  TraceInfo info_;
};

class MegatronWriter final : public TraceWriter {
 public:
  MegatronWriter(const std::string& path, const TraceInfo& info)
      : path_(path), file_(path), top_k_(info.top_k) {}

  /// Rows in ascending order, as the tracer has them.
  void add(const TraceStep& step) override {
    if (step.experts.empty() && step.tokens == 0 && !step.counts.empty())
      throw UsageError(cat(path_, ": lines of top_indices cannot hold counts"));
    const bool mtp = step.layer >= kFirstMtpLayer;
    const std::int64_t in_mtp = step.layer - kFirstMtpLayer;
    std::string line =
        cat("{\"step\": ", step.step, ", \"stage\": \"pre_dispatch\", \"block\": \"", mtp ? "mtp" : "decoder",
            "\", \"layer\": ", mtp ? in_mtp % kMtpLayers : step.layer,
            mtp ? cat(", \"mtp_idx\": ", in_mtp / kMtpLayers) : "",
            ", \"rank\": 0, \"num_tokens\": ", step.tokens, ", \"topk\": ", top_k_, ", \"top_indices\": [");
    std::vector<std::int32_t> row(static_cast<std::size_t>(top_k_));
    for (std::int64_t t = 0; t < step.tokens; ++t) {
      std::copy_n(step.experts.begin() + t * top_k_, top_k_, row.begin());
      std::sort(row.begin(), row.end());
      line += t == 0 ? "[" : ", [";
      for (std::size_t j = 0; j < row.size(); ++j) line += (j == 0 ? "" : ", ") + std::to_string(row[j]);
      line += "]";
    }
    file_.write(line + "]}\n");
  }
  void finish() override { file_.finish(); }

 private:
  std::string path_;
  OutputFile file_;
  std::int64_t top_k_;
};

}  // namespace

std::unique_ptr<TraceReader> read_megatron_trace(std::vector<std::unique_ptr<ByteSource>> ranks) {
  return std::make_unique<MegatronReader>(std::move(ranks));
}
std::unique_ptr<TraceWriter> write_megatron_trace(const std::string& path, const TraceInfo& info) {
  return std::make_unique<MegatronWriter>(path, info);
}

}  // namespace moebench
