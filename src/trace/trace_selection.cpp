// SPDX-License-Identifier: Apache-2.0
#include "trace/trace_selection.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "moe/routing_counts.h"

namespace moebench {
namespace {

constexpr std::string_view kForm = "FILE[@layer=L][@step=A[-B]][@as=experts|counts]";

/// Steps of one layer: of the first that comes, if none was asked for.
class Wanted {
 public:
  explicit Wanted(const TraceSelection& selection) : selection_(selection), layer_(selection.layer) {}
  bool operator()(std::int64_t step, std::int64_t layer) {
    if (step < selection_.first_step || step > selection_.last_step) return false;
    if (!layer_) layer_ = layer;
    return layer == *layer_;
  }
  std::int64_t layer() const { return layer_.value_or(0); }

 private:
  const TraceSelection& selection_;
  std::optional<std::int64_t> layer_;
};

std::string selection_text(const TraceSelection& selection, std::int64_t layer) {
  std::string text = cat("layer ", layer);
  const bool open = selection.last_step == std::numeric_limits<std::int64_t>::max();
  if (open && selection.first_step == 0) return text + ", all steps";
  if (open) return cat(text, ", steps from ", selection.first_step);
  if (selection.first_step == selection.last_step) return cat(text, ", step ", selection.first_step);
  return cat(text, ", steps ", selection.first_step, " to ", selection.last_step);
}

class TraceDraw final : public RoutingDraw {
 public:
  TraceDraw(const TraceSelection& selection, const Shape& shape, std::uint64_t seed) : top_k_(shape.top_k) {
    const auto reader = open_trace(selection.path, selection.meaning);
    Wanted wanted(selection);
    TraceStep step;
    while (reader->next(step, std::ref(wanted))) {
      Step kept{.tokens = step.tokens, .experts = std::move(step.experts), .counts = nullptr};
      if (!step.counts.empty()) {
        const std::vector<double> weights(step.counts.begin(), step.counts.end());
        const auto counts = counts_in_proportion(weights, shape.tokens, shape.top_k);
        kept.counts = std::make_unique<CountsDraw>(counts, shape.tokens, seed);
      }
      steps_.push_back(std::move(kept));
    }
    if (steps_.empty()) throw UsageError(cat(selection.path, ": has changed since it was looked at"));
  }

  void choose(int step, std::int64_t token, std::span<std::int64_t> chosen) const override {
    const Step& of = steps_[static_cast<std::size_t>(step) % steps_.size()];
    if (of.counts) return of.counts->choose(step, token, chosen);
    const std::int64_t row = token % of.tokens;
    std::copy_n(of.experts.begin() + row * top_k_, top_k_, chosen.begin());
  }

 private:
  struct Step {
    std::int64_t tokens;
    std::vector<std::int32_t> experts;
    std::unique_ptr<CountsDraw> counts;
  };
  std::vector<Step> steps_;
  std::int64_t top_k_;
};

}  // namespace

TraceSelection parse_selection(std::string_view word) {
  const auto refuse = [&] { throw UsageError(cat("trace '", word, "' is not ", kForm)); };
  TraceSelection selection;
  std::string_view path = word;
  for (std::size_t at = path.rfind('@'); at != std::string_view::npos; at = path.rfind('@')) {
    const std::string_view part = path.substr(at + 1);
    const std::size_t equals = part.find('=');
    const std::string_view key = part.substr(0, equals),
                           value = equals == std::string_view::npos ? "" : part.substr(equals + 1);
    if (key == "layer") {
      selection.layer = to_int(value);
      if (!selection.layer) refuse();
    } else if (key == "step") {
      const std::size_t dash = value.find('-');
      const auto first = to_int(value.substr(0, dash)),
                 last = dash == std::string_view::npos ? first : to_int(value.substr(dash + 1));
      if (!first || !last || *first > *last) refuse();
      selection.first_step = *first, selection.last_step = *last;
    } else if (key == "as") {
      if (value != "experts" && value != "counts") refuse();
      selection.meaning = value == "counts" ? ArrayMeaning::counts : ArrayMeaning::experts;
    } else {
      break;  // of the name
    }
    path = path.substr(0, at);
  }
  if (path.empty()) refuse();
  selection.path = path;
  return selection;
}

std::string content_of(const TraceFacts& facts) {
  return cat("trace ", facts.sha256, ", ", facts.format, ", ", facts.selection);
}

TraceFacts facts_of(const TraceSelection& selection) {
  const auto reader = open_trace(selection.path, selection.meaning);
  Wanted wanted(selection);
  TraceFacts facts{.name = selection.path,
                   .sha256 = reader->sha256(),
                   .format = std::string(reader->info().format),
                   .selection = {},
                   .experts = reader->info().experts,
                   .top_k = reader->info().top_k,
                   .least_tokens = kMostTraceSlots};
  TraceStep step;
  while (reader->next(step, std::ref(wanted))) {
    ++facts.steps;
    facts.least_tokens = std::min(facts.least_tokens, step.tokens);
    facts.most_tokens = std::max(facts.most_tokens, step.tokens);
    for (const std::int32_t expert : step.experts)
      facts.most_expert = std::max<std::int64_t>(facts.most_expert, expert);
    if (!step.counts.empty()) facts.top_k = 0, facts.most_expert = std::ssize(step.counts) - 1;
    if (step.counts.empty() && step.tokens == 0)
      throw UsageError(cat(selection.path, ": step ", step.step, " of layer ", step.layer, " has no tokens"));
  }
  facts.layer = wanted.layer();
  facts.selection = selection_text(selection, facts.layer);
  if (facts.steps == 0) throw UsageError(cat(selection.path, ": has nothing of ", facts.selection));
  return facts;
}

std::string why_not_replayed(const TraceFacts& facts, const Shape& shape) {
  if (facts.experts > 0 && facts.experts != shape.experts)
    return cat("trace ", facts.name, " has ", facts.experts, " experts, the case has ", shape.experts);
  if (facts.most_expert >= shape.experts)
    return cat("trace ", facts.name, " has an expert ", facts.most_expert, ", the case has ", shape.experts,
               " experts");
  if (facts.top_k > 0 && facts.top_k != shape.top_k)
    return cat("trace ", facts.name, " has top-k ", facts.top_k, ", the case has ", shape.top_k);
  return {};
}

std::string fitting_of(const TraceFacts& facts, const Shape& shape) {
  if (facts.top_k == 0)
    return "a routing with the trace's counts of rows, in proportion if it has other tokens";
  if (facts.least_tokens < shape.tokens)
    return cat("tokens are repeated: the trace has ", facts.least_tokens, " of ", shape.tokens);
  if (facts.most_tokens > shape.tokens)
    return cat("tokens are cut: the trace has ", facts.most_tokens, ", of which ", shape.tokens,
               " are replayed");
  return {};
}

std::unique_ptr<RoutingDraw> draw_trace(const TraceSelection& selection, const Shape& shape,
                                        std::uint64_t seed) {
  return std::make_unique<TraceDraw>(selection, shape, seed);
}

}  // namespace moebench
