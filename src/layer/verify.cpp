// SPDX-License-Identifier: Apache-2.0
#include "layer/verify.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "layer/gates/capacity.h"
#include "layer/gates/choice.h"
#include "layer/gradient_rows.h"
#include "layer/oracle.h"
#include "layer/row_errors.h"
#include "layer/second_way.h"
#include "layer/shared_check.h"

namespace moebench {
namespace {

template <class T>
std::vector<T> read(Memory& memory, std::span<const T> device) {
  std::vector<T> host(device.size());
  memory.copy_to_host(host.data(), device.data(), device.size_bytes());
  return host;
}

/// Sums over one row of `n` elements.
template <class Out, class Expected>
RowSums row_of(const Out* out, const Expected* expected, std::int64_t n) {
  RowSums sums;
  for (std::int64_t i = 0; i < n; ++i) sums.add(out[i], expected[i]);
  return sums;
}

/// One verification: the layer's results on the host, and the comparisons made so far.
class Verification {
 public:
  Verification(Layer& layer, const Workload& workload, World& world, Backend& backend, ThreadPool& pool,
               const VerifyOptions& options, Trace& trace)
      : layer_(layer),
        workload_(workload),
        shape_(workload.shape()),
        world_(world),
        backend_(backend),
        pool_(pool),
        options_(options),
        first_(shape_.first_token(world.rank())),
        tokens_(shape_.tokens_of(world.rank())) {
    run(trace);
  }

  void compare() {
    const Routing& routing = layer_.routing();
    Memory& memory = backend_.memory();
    const auto mine = read<std::int32_t>(memory, routing.expert_of);
    gate_output_ = {gather_all(world_, mine), gather_all(world_, read<float>(memory, routing.score)),
                    gather_all(world_, read<float>(memory, routing.dscore)),
                    gather_all(world_, read<std::int32_t>(memory, routing.chosen))};
    const bool valid = is_valid();
    items_.push_back({"gate", valid ? 0 : std::numeric_limits<double>::quiet_NaN(), 0});
    if (!valid) return;  // the rest would be computed for experts that do not exist
    if (layer_.drop_rule().drops() && !layer_.gate().may_drop()) compare_drops();
    const Oracle oracle(workload_, options_.step, gate_output_, pool_, &layer_.gate(), layer_.loss_options());
    find_offsets(oracle);
    compare_tokens(oracle);
    if (options_.backward) compare_gate_gradient(oracle);
    if (options_.backward) compare_experts(oracle);
    std::optional<SharedCheck> shared;
    if (oracle.shared()) shared.emplace(layer_, workload_, oracle, world_, backend_, pool_, options_);
    if (shared && options_.backward) shared->compare_gradients(items_);
    if (!options_.second_way_to.empty()) compare_second_way(oracle, shared ? &*shared : nullptr);
  }

  std::vector<CheckItem> items() {
    all_reduce_max(world_, items_);
    return items_;
  }

 private:
  void run(Trace& trace) {
    if (!options_.as_it_is) layer_.load(workload_);
    const auto tensor = [&] { return Tensor(backend_.memory(), shape_.dtype, tokens_, shape_.hidden); };
    const Tensor y = tensor(), dx = tensor();
    Tensor x, dy;
    std::vector<float> host(static_cast<std::size_t>(tokens_ * shape_.hidden));
    if (!options_.x.data) {
      x = tensor(), dy = tensor();
      workload_.input(options_.step, first_, tokens_, host);
      backend_.upload(x, host);
      workload_.output_gradient(options_.step, first_, tokens_, host);
      backend_.upload(dy, host);
    }
    const TensorView x_view = options_.x.data ? options_.x : x.view(),
                     dy_view = options_.x.data ? options_.dy : dy.view();
    backend_.poison(y);
    backend_.poison(dx);
    layer_.forward(x_view, y, trace, options_.step);
    if (options_.backward) {
      for (ParameterTensors& parameter : layer_.parameters().all()) backend_.poison(parameter.gradient);
      layer_.backward(x_view, dy_view, dx, trace);
      layer_.sync(trace);
    }
    y_.resize(host.size());
    dx_.resize(host.size());
    backend_.download(y_, y);
    if (options_.backward) backend_.download(dx_, dx);
    backend_.synchronize();
  }

  /// Every token has chosen K different experts that exist, and its slots go there, or, where the gate may drop them,
  /// to none. The same on every rank.
  bool is_valid() const {
    const std::int64_t k = shape_.slots_per_token();
    const bool may_drop = layer_.may_drop();
    for (std::int64_t slot = 0; slot < std::ssize(gate_output_.chosen); ++slot) {
      const std::int32_t expert = gate_output_.chosen[slot], goes_to = gate_output_.expert_of[slot];
      if (expert < 0 || expert >= shape_.experts) return false;
      if (goes_to != expert && !(may_drop && goes_to == -1)) return false;
      for (std::int64_t other = slot / k * k; other < slot; ++other)
        if (gate_output_.chosen[other] == expert) return false;
    }
    return true;
  }

  /// Which slots went nowhere, exactly: by the choice and the scores that the layer found. How many of all differ.
  void compare_drops() {
    CheckItem item{"drops", 0, 0};
    const auto expected =
        limited(layer_.drop_rule(), shape_, options_.step, gate_output_.chosen, gate_output_.score);
    for (std::int64_t slot = 0; slot < std::ssize(expected); ++slot) {
      if (gate_output_.expert_of[slot] == expected[slot]) continue;
      if (item.error++ == 0)
        item.where =
            cat("token ", slot / shape_.slots_per_token(), ", choice ", slot % shape_.slots_per_token());
    }
    items_.push_back(item);
  }

  /// Of a gate that balances groups, from the logits of all of this rank's tokens.
  void find_offsets(const Oracle& oracle) {
    const std::int64_t group = layer_.gate().rule().balance.group, e = shape_.experts;
    if (group == 0) return;
    std::vector<double> logits(static_cast<std::size_t>(tokens_ * e));
    pool_.parallel_for(tokens_, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t)
        std::ranges::copy(oracle.logits_of(first_ + t), &logits[t * e]);
    });
    for (std::int64_t t = 0; t < tokens_; t += group)
      offsets_.push_back(layer_.gate().offsets({&logits[t * e], static_cast<std::size_t>(group * e)}));
  }
  std::span<const double> offsets_of(std::int64_t token) const {
    if (offsets_.empty()) return {};
    return offsets_[static_cast<std::size_t>((token - first_) / layer_.gate().rule().balance.group)];
  }

  /// Errors of rows that each belong to a token.
  RowErrors token_errors(std::int64_t columns) const { return {columns, shape_.tokens}; }

  void compare_tokens(const Oracle& oracle) {
    sample_ = evenly_spaced(tokens_, options_.full ? tokens_ : kSampledTokens);
    for (std::int64_t& token : sample_) token += first_;
    expected_ = oracle.tokens(sample_);
    const std::int64_t h = shape_.hidden, k = shape_.slots_per_token();
    RowErrors score = token_errors(k), y = token_errors(h), dscore = token_errors(k), dx = token_errors(h);
    double misrouted = 0;
    for (std::size_t s = 0; s < sample_.size(); ++s) {
      const OracleToken& expected = expected_[s];
      const std::int64_t token = sample_[s], row = token - first_;
      const auto name = [&] { return cat("token ", token); };
      misrouted = std::max(misrouted, misrouting(token, expected.logits.data()));
      score.add(row_of(&gate_output_.score[token * k], expected.score.data(), k), expected.score_terms, name);
      y.add(row_of(&y_[row * h], expected.y.data(), h), expected.y_terms, name);
      if (!options_.backward) continue;
      double terms = 0;
      for (const double term : expected.dscore_terms) terms = std::hypot(terms, term);
      dscore.add(row_of(&gate_output_.dscore[token * k], expected.dscore.data(), k), terms, name);
      dx.add(row_of(&dx_[row * h], expected.dx.data(), h), expected.dx_terms, name);
    }
    items_.front().error = misrouted;
    items_.front().bound = error_bound(shape_.router_dtype());
    add("score", score, shape_.router_dtype());
    add("y", y, shape_.dtype);
    if (!options_.backward) return;
    add("dscore", dscore, shape_.dtype);
    add("dx", dx, shape_.dtype);
  }

  /// By how much the best expert left out beats the worst one taken, relative to the largest of what is ranked. What is
  /// replayed follows from no logits: infinite unless it is what should be replayed, in its order.
  double misrouting(std::int64_t token, const double* of_token) const {
    const std::int32_t* chosen = &gate_output_.chosen[token * shape_.slots_per_token()];
    if (layer_.replays()) {
      const auto target = workload_.target_experts(options_.step, token);
      return std::equal(target.begin(), target.end(), chosen) ? 0 : std::numeric_limits<double>::infinity();
    }
    return moebench::misrouting(layer_.gate(), {of_token, static_cast<std::size_t>(shape_.experts)},
                                {chosen, static_cast<std::size_t>(shape_.slots_per_token())},
                                offsets_of(token));
  }

  void compare_gate_gradient(const Oracle& oracle) {
    const std::int64_t h = shape_.hidden, e = shape_.experts;
    const auto expected = oracle.dgate(), terms = oracle.dgate_terms();
    std::vector<float> host(static_cast<std::size_t>(h * e));
    backend_.download(host, layer_.parameters().gradient(Parameter::gate));
    RowErrors errors(h, e);
    for (std::int64_t column = 0; column < e; ++column) {
      RowSums sums;
      for (std::int64_t i = 0; i < h; ++i) sums.add(host[i * e + column], expected[i * e + column]);
      errors.add(sums, terms[column], [&] { return cat("expert ", column); });
    }
    add("dgate", errors, shape_.router_dtype());
  }

  void compare_experts(const Oracle& oracle) {
    units_ = evenly_spaced(shape_.ffn, options_.full ? shape_.ffn : kSampledUnits);
    GradientErrors errors(shape_);
    for (const std::int64_t e :
         evenly_spaced(shape_.experts_per_rank(), options_.full ? shape_.experts : kSampledExperts)) {
      const std::int64_t expert = shape_.first_expert(world_.rank()) + e;
      OracleGradients& expected = sampled_[e] = {oracle.units(expert, units_), {}, 0};
      if (shape_.bias) expected.db2 = oracle.db2(expert), expected.db2_terms = oracle.db2_terms(expert);
      errors.add(expert, gradients_of(e), units_, expected);
    }
    errors.append_to(items_, "d", "", error_bound(shape_.dtype));
  }

  /// Every row of this rank against the second way, and that way against the oracle where the oracle was asked.
  void compare_second_way(const Oracle& oracle, SharedCheck* shared) {
    std::optional<SecondWay> way(std::in_place, workload_, world_, backend_, pool_, layer_.gate(),
                                 options_.second_way_to, options_.backward);
    const double bound = error_bound(shape_.dtype);
    CheckItem second{.name = "second", .error = 0, .bound = bound};
    const auto refuse = [&](const std::string& why) {
      second.error = std::numeric_limits<double>::quiet_NaN(), second.why_not = why;
      items_.push_back(second);
    };
    if (!way->why_not().empty()) return refuse(way->why_not());
    GradientErrors of_layer(shape_), of_way(shape_);
    SecondResults results =
        way->run(oracle, gate_output_, [&](std::int64_t e, const ExpertGradients& gradients) {
          const std::int64_t expert = shape_.first_expert(world_.rank()) + e;
          of_layer.add(expert, gradients_of(e), gradients, pool_);
          if (const auto sampled = sampled_.find(e); sampled != sampled_.end())
            of_way.add(expert, gradients, units_, sampled->second);
        });
    way.reset();  // its memory is what the next one takes
    if (shared)
      if (const std::string why = shared->add_second_way(results, items_, second); !why.empty())
        return refuse(why);
    compare_all_tokens(results);
    // Both ways err, each by itself: errors of two add in squares.
    if (options_.backward) of_layer.append_to(items_, "d", "_rows", bound * std::numbers::sqrt2);
    compare_with_sample(results, second);
    if (options_.backward) of_way.merge_into(second);
    items_.push_back(second);
    if (options_.backward && shape_.ep < shape_.ranks) compare_replicas();
  }

  void compare_all_tokens(const SecondResults& way) {
    const std::int64_t h = shape_.hidden, k = shape_.slots_per_token();
    RowErrors score = token_errors(k), y = token_errors(h), dscore = token_errors(k), dx = token_errors(h);
    for (std::int64_t t = 0; t < tokens_; ++t) {
      const std::int64_t slot = (first_ + t) * k;
      const auto name = [&] { return cat("token ", first_ + t); };
      items_.front().error =
          std::max(items_.front().error, misrouting(first_ + t, &way.logits[t * shape_.experts]));
      score.add(row_of(&gate_output_.score[slot], &way.score[t * k], k), way.score_terms[t], name);
      y.add(row_of(&y_[t * h], &way.y[t * h], h), way.y_terms[t], name);
      if (!options_.backward) continue;
      dscore.add(row_of(&gate_output_.dscore[slot], &way.dscore[t * k], k), way.dscore_terms[t], name);
      dx.add(row_of(&dx_[t * h], &way.dx[t * h], h), way.dx_terms[t], name);
    }
    const double bound = error_bound(shape_.dtype) * std::numbers::sqrt2;
    const double of_router = error_bound(shape_.router_dtype()) * std::numbers::sqrt2;
    items_.push_back({"score_rows", score.largest(), of_router, score.where()});
    items_.push_back({"y_rows", y.largest(), bound, y.where()});
    if (!options_.backward) return;
    items_.push_back({"dscore_rows", dscore.largest(), bound, dscore.where()});
    items_.push_back({"dx_rows", dx.largest(), bound, dx.where()});
  }

  void compare_with_sample(const SecondResults& way, CheckItem& second) {
    const std::int64_t h = shape_.hidden, k = shape_.slots_per_token();
    RowErrors rows = token_errors(h), scores = token_errors(k);
    for (std::size_t s = 0; s < sample_.size(); ++s) {
      const OracleToken& expected = expected_[s];
      const std::int64_t t = sample_[s] - first_;
      const auto name = [&](const char* what) {
        return [what, token = sample_[s]] { return cat(what, " of token ", token); };
      };
      scores.add(row_of(&way.score[t * k], expected.score.data(), k), expected.score_terms, name("score"));
      rows.add(row_of(&way.y[t * h], expected.y.data(), h), expected.y_terms, name("y"));
      if (options_.backward)
        rows.add(row_of(&way.dx[t * h], expected.dx.data(), h), expected.dx_terms, name("dx"));
    }
    rows.merge_into(second);
    scores.merge_into(second);
  }

  /// Ranks that hold the same experts hold the same sums of gradients, bit by bit.
  void compare_replicas() {
    std::vector<std::uint64_t> mine;  // a hash for each expert
    for (std::int64_t e = 0; e < shape_.experts_per_rank(); ++e) mine.push_back(hash_of(gradients_of(e)));
    const auto all = gather_by_rank(world_, std::span<const std::uint64_t>(mine));
    CheckItem item{"replicas", 0, 0, {}, {}};
    const auto ep = static_cast<std::size_t>(shape_.ep);
    for (std::size_t rank = ep; rank < static_cast<std::size_t>(shape_.ranks); ++rank)
      for (std::size_t i = 0; i < mine.size(); ++i) {
        if (all[rank][i] == all[rank % ep][i]) continue;
        item.error = std::numeric_limits<double>::infinity();
        item.where = cat("rank ", rank, ", expert ",
                         shape_.first_expert(static_cast<int>(rank)) + static_cast<std::int64_t>(i));
      }
    items_.push_back(item);
  }

  ExpertGradients gradients_of(std::int64_t e) {
    return download_gradients(backend_, layer_.parameters().gradients(), shape_, e);
  }

  void add(std::string name, const RowErrors& errors, DType dtype) {
    items_.push_back({std::move(name), errors.largest(), error_bound(dtype), errors.where()});
  }
  Layer& layer_;
  const Workload& workload_;
  Shape shape_;
  World& world_;
  Backend& backend_;
  ThreadPool& pool_;
  VerifyOptions options_;
  std::int64_t first_, tokens_;
  std::vector<float> y_, dx_;
  GateOutput gate_output_;
  std::vector<std::vector<double>> offsets_;  ///< [E] of each group of this rank, if the gate balances groups
  std::vector<std::int64_t> sample_, units_;  ///< tokens and hidden units that the oracle was asked for
  std::vector<OracleToken> expected_;         ///< of sample_
  std::map<std::int64_t, OracleGradients> sampled_;  ///< by local expert
  std::vector<CheckItem> items_;
};

}  // namespace

std::vector<CheckItem> verify(Layer& layer, const Workload& workload, World& world, Backend& backend,
                              ThreadPool& pool, const VerifyOptions& options, Trace& trace) {
  Verification verification(layer, workload, world, backend, pool, options, trace);
  verification.compare();
  return verification.items();
}

std::vector<CheckItem> verify(Layer& layer, const Workload& workload, World& world, Backend& backend,
                              ThreadPool& pool, const VerifyOptions& options) {
  NoTrace trace;
  return verify(layer, workload, world, backend, pool, options, trace);
}

void all_reduce_max(World& world, std::vector<CheckItem>& items) {
  std::vector<double> errors;
  std::string places;
  for (const CheckItem& item : items) {
    errors.push_back(item.error);
    places += item.where + '\n';
  }
  const auto all = world.gather(errors);
  const auto texts = world.gather_text(places);
  for (std::size_t i = 0; i < all.size(); ++i) {
    CheckItem& item = items[i % items.size()];
    if (all[i] <= item.error || std::isnan(item.error)) continue;
    item.error = all[i];
    item.where = split(texts[i / items.size()], '\n')[i % items.size()];
  }
}

double error_bound(DType dtype) { return format_info(dtype).error_bound; }

}  // namespace moebench
