// SPDX-License-Identifier: Apache-2.0
#include "layer/shared_check.h"

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "layer/row_errors.h"

namespace moebench {

SharedCheck::SharedCheck(Layer& layer, const Workload& workload, const Oracle& oracle, World& world,
                         Backend& backend, ThreadPool& pool, const VerifyOptions& options)
    : layer_(layer),
      workload_(workload.shared()),
      shape_(workload_.shape()),
      oracle_(*oracle.shared()),
      world_(world),
      backend_(backend),
      pool_(pool),
      options_(options) {}

ExpertGradients SharedCheck::gradients() const {
  return download_gradients(backend_, layer_.parameters().shared_gradients(), shape_, 0);
}

void SharedCheck::compare_gradients(std::vector<CheckItem>& items) {
  units_ = evenly_spaced(shape_.ffn, options_.full ? shape_.ffn : kSampledUnits);
  expected_ = {oracle_.units(0, units_), {}, 0};
  if (shape_.bias) expected_.db2 = oracle_.db2(0), expected_.db2_terms = oracle_.db2_terms(0);
  GradientErrors errors(shape_);
  errors.add(0, gradients(), units_, expected_);
  errors.append_to(items, "dshared_", "", error_bound(shape_.dtype));
}

std::string SharedCheck::add_second_way(SecondResults& results, std::vector<CheckItem>& items,
                                        CheckItem& second) {
  const auto gate = default_gate().define(shape_, {});
  SecondWay way(workload_, world_, backend_, pool_, *gate, "loop", options_.backward);
  if (!way.why_not().empty()) return way.why_not();
  GradientErrors of_layer(shape_), of_way(shape_);
  const auto take = [&](std::int64_t, const ExpertGradients& second_gradients) {
    of_layer.add(0, gradients(), second_gradients, pool_);
    of_way.add(0, second_gradients, units_, expected_);
  };
  const SecondResults shared = way.run(oracle_, all_to_one_expert(shape_.tokens), take);
  for (std::size_t i = 0; i < shared.y.size(); ++i)
    results.y[i] += shared.y[i], results.dx[i] += shared.dx[i];
  for (std::size_t t = 0; t < shared.y_terms.size(); ++t) {
    results.y_terms[t] = std::hypot(results.y_terms[t], shared.y_terms[t]);
    results.dx_terms[t] = std::hypot(results.dx_terms[t], shared.dx_terms[t]);
  }
  if (!options_.backward) return {};
  of_layer.append_to(items, "dshared_", "_rows", error_bound(shape_.dtype) * std::numbers::sqrt2);
  of_way.merge_into(second);
  return {};
}

}  // namespace moebench
