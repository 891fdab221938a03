// SPDX-License-Identifier: Apache-2.0
// One matrix product as a subject: the paper's Figure 3.
#include <cmath>

#include "base/text.h"
#include "bench/inputs.h"
#include "bench/subjects.h"
#include "layer/row_errors.h"
#include "layer/verify.h"

namespace moebench {
namespace {

/// How many copies of W [H, F] iterations rotate over, as if it were an input.
int weights_of(const Case& bench_case, std::size_t cache_bytes) {
  const Shape& shape = bench_case.shape;
  return input_sets_of({.shape = {.tokens = shape.hidden, .hidden = shape.ffn, .dtype = shape.dtype},
                        .cache = bench_case.cache},
                       cache_bytes);
}

/// y [T, F] = x [T, H] · W [H, F] on every rank: the paper's Figure 3.
class LinearSubject final : public Subject {
 public:
  LinearSubject(const Case& bench_case, Bench bench)
      : shape_(bench_case.shape),
        bench_(bench),
        workload_(shape_, {}, bench_case.seed),
        y_(bench.backend.memory(), shape_.dtype, shape_.tokens_of(bench.ranks.rank()), shape_.ffn) {
    const std::size_t cache_bytes = bench.backend.device().cache_bytes;
    const ScopedMemoryTag scope(bench.backend.memory(), MemoryTag::weights);
    for (int i = 0; i < weights_of(bench_case, cache_bytes); ++i) {
      weights_.emplace_back(bench.backend.memory(), shape_.dtype, shape_.hidden, shape_.ffn);
      bench.backend.fill(weights_.back(), workload_.field(Parameter::w1), 0);
    }
    inputs_ = make_inputs(workload_, bench.ranks.rank(), false, input_sets_of(bench_case, cache_bytes),
                          bench.backend);
  }

  void run(Pass, int step, Trace&) override {
    const auto at = static_cast<std::size_t>(step);
    bench_.backend.gemm(inputs_[at % inputs_.size()].x, weights_[at % weights_.size()], y_);
  }
  int input_sets() const override { return static_cast<int>(std::max(inputs_.size(), weights_.size())); }
  std::vector<TensorView> outputs() override { return {y_}; }

  CheckRecord check(CheckMode mode) override { return recheck(mode, 0); }
  CheckRecord recheck(CheckMode mode, int step) override {
    NoTrace trace;
    bench_.backend.poison(y_);
    run(Pass::forward, step, trace);
    const auto at = static_cast<std::size_t>(step);
    const auto x = download(bench_.backend, inputs_[at % inputs_.size()].x),
               w = download(bench_.backend, weights_[at % weights_.size()]), y = download(bench_.backend, y_);
    const bool full = mode == CheckMode::full;
    const auto columns = evenly_spaced(shape_.ffn, full ? shape_.ffn : 64);
    RowErrors errors(std::ssize(columns), shape_.tokens);
    for (const std::int64_t t : evenly_spaced(y_.view().rows, full ? y_.view().rows : kSampledTokens)) {
      RowSums row;
      double terms = 0;
      for (const std::int64_t j : columns) {
        double sum = 0;
        for (std::int64_t i = 0; i < shape_.hidden; ++i) {
          const double term = double{x[t * shape_.hidden + i]} * w[i * shape_.ffn + j];
          sum += term;
          terms += term * term;
        }
        row.add(y[t * shape_.ffn + j], sum);
      }
      errors.add(row, std::sqrt(terms), [&] { return cat("row ", t, " of rank ", bench_.ranks.rank()); });
    }
    CheckItem item{"y", 0, error_bound(shape_.dtype)};
    errors.merge_into(item);
    std::vector<CheckItem> items{item};
    all_reduce_max(bench_.ranks, items);
    return record_of(mode, std::move(items));
  }

  StageCost cost(Pass) const override {
    const auto t = static_cast<double>(y_.view().rows), h = static_cast<double>(shape_.hidden),
               f = static_cast<double>(shape_.ffn);
    return {.flops = 2 * t * h * f,
            .bytes = (t * h + h * f + t * f) * static_cast<double>(size_of(shape_.dtype))};
  }

 private:
  Shape shape_;
  Bench bench_;
  Workload workload_;
  Tensor y_;
  std::vector<Tensor> weights_;  ///< equal copies, rotated like the inputs: one alone could stay in the cache
  std::vector<InputSet> inputs_;
};

MemoryEstimate estimate(const Case& bench_case, const EstimateArgs& args) {
  const Shape& shape = bench_case.shape;
  const auto s = static_cast<double>(size_of(shape.dtype)),
             t = static_cast<double>(shape.tokens_of(shape.ranks - 1));
  const auto h = static_cast<double>(shape.hidden), f = static_cast<double>(shape.ffn);
  return {.weights = weights_of(bench_case, args.cache_bytes) * h * f * s,
          .activations = t * f * s,
          .inputs = args.input_sets * t * h * s,
          .host = args.check == CheckMode::none ? 0 : 4 * (t * h + h * f + t * f)};
}

std::string why_not_linear(const Case& bench_case, const Capabilities&) {
  if (bench_case.passes == PassSet::fwd) return {};
  return cat("subject linear has no ", name_of(bench_case.passes), " pass; valid: fwd");
}

}  // namespace

const SubjectEntry kLinearSubject{.kind = SubjectKind::linear,
                                  .make = make_subject_of<LinearSubject>,
                                  .estimate = estimate,
                                  .why_not = why_not_linear};

}  // namespace moebench
