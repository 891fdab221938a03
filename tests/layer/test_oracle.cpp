// SPDX-License-Identifier: Apache-2.0
// The oracle against finite differences of a loss written out a second time, from arrays that can be nudged.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "layer/oracle.h"
#include "layer/oracle_terms.h"

namespace moebench {
namespace {

using Values = std::vector<double>;

/// All inputs of the layer as plain arrays, and the choice of experts, which stays fixed while they are nudged.
struct Inputs {
  Shape s;
  Values x, dy, gate, w1, b1, w2, b2;
  std::vector<std::int32_t> expert_of;
};

Values values_of(const Workload& workload, Parameter id, std::int64_t count) {
  Values values(count);
  for (std::int64_t i = 0; i < count; ++i) values[i] = workload.field(id).at(i);
  return values;
}

Values score_of(const Inputs& in, std::int64_t t) {
  Values score(in.s.top_k);
  for (std::int64_t j = 0; j < in.s.top_k; ++j) {
    double logit = 0;
    for (std::int64_t i = 0; i < in.s.hidden; ++i)
      logit += in.x[t * in.s.hidden + i] * in.gate[i * in.s.experts + in.expert_of[t * in.s.top_k + j]];
    score[j] = std::exp(logit);
  }
  const double sum = std::reduce(score.begin(), score.end());
  for (double& value : score) value /= sum;
  return score;
}

Values expert_out(const Inputs& in, std::int64_t e, const double* x) {
  const std::int64_t h = in.s.hidden, f = in.s.ffn, w = in.s.w1_cols();
  Values pre(in.b1.begin() + e * w, in.b1.begin() + (e + 1) * w),
      out(in.b2.begin() + e * h, in.b2.begin() + (e + 1) * h);
  for (std::int64_t i = 0; i < h; ++i)
    for (std::int64_t j = 0; j < w; ++j) pre[j] += x[i] * in.w1[(e * h + i) * w + j];
  for (std::int64_t j = 0; j < f; ++j) {
    const double act = w == f ? pre[j] * 0.5 * (1 + std::erf(pre[j] / std::sqrt(2.0)))
                              : pre[j] / (1 + std::exp(-pre[j])) * pre[f + j];
    for (std::int64_t i = 0; i < h; ++i) out[i] += act * in.w2[(e * f + j) * h + i];
  }
  return out;
}

double loss(const Inputs& in) {
  double sum = 0;
  for (std::int64_t t = 0; t < in.s.tokens; ++t) {
    const Values score = score_of(in, t);
    for (std::int64_t j = 0; j < in.s.top_k; ++j) {
      const Values out = expert_out(in, in.expert_of[t * in.s.top_k + j], &in.x[t * in.s.hidden]);
      for (std::int64_t i = 0; i < in.s.hidden; ++i) sum += in.dy[t * in.s.hidden + i] * score[j] * out[i];
    }
  }
  return sum;
}

/// Central difference of the loss in one element.
double slope(Inputs& in, Values Inputs::*array, std::int64_t index) {
  constexpr double kStep = 1e-5;
  double& value = (in.*array)[index];
  const double kept = value;
  value = kept + kStep;
  const double above = loss(in);
  value = kept - kStep;
  const double below = loss(in);
  value = kept;
  return (above - below) / (2 * kStep);
}

class OracleGradients : public testing::TestWithParam<Activation> {
 protected:
  OracleGradients()
      : shape_{.tokens = 9,
               .hidden = 6,
               .ffn = 5,
               .experts = 4,
               .top_k = 2,
               .activation = GetParam(),
               .bias = true},
        workload_(shape_, {}, 11),
        in_{.s = shape_} {
    const std::int64_t h = shape_.hidden, e = shape_.experts, w = shape_.w1_cols();
    std::vector<float> x(shape_.tokens * h), dy(x.size());
    workload_.input(0, 0, shape_.tokens, x);
    workload_.output_gradient(0, 0, shape_.tokens, dy);
    in_.x.assign(x.begin(), x.end());
    in_.dy.assign(dy.begin(), dy.end());
    in_.gate = values_of(workload_, Parameter::gate, h * e);
    in_.w1 = values_of(workload_, Parameter::w1, e * h * w);
    in_.b1 = values_of(workload_, Parameter::b1, e * w);
    in_.w2 = values_of(workload_, Parameter::w2, e * shape_.ffn * h);
    in_.b2 = values_of(workload_, Parameter::b2, e * h);
    for (std::int64_t t = 0; t < shape_.tokens; ++t)
      in_.expert_of.insert(in_.expert_of.end(), {static_cast<std::int32_t>(t % 4),
                                                 static_cast<std::int32_t>((t + 1 + t / 4) % 4)});
    all_.resize(shape_.tokens);
    std::iota(all_.begin(), all_.end(), 0);
  }
  /// The oracle, told the scores and their gradients that it found itself.
  Oracle oracle() {
    GateOutput gate_output{in_.expert_of, std::vector<float>(in_.expert_of.size()),
                           std::vector<float>(in_.expert_of.size())};
    const auto tokens = Oracle(workload_, 0, gate_output, pool_).tokens(all_);
    for (std::size_t slot = 0; slot < gate_output.score.size(); ++slot) {
      gate_output.score[slot] = static_cast<float>(tokens[slot / 2].score[slot % 2]);
      gate_output.dscore[slot] = static_cast<float>(tokens[slot / 2].dscore[slot % 2]);
    }
    return Oracle(workload_, 0, gate_output, pool_);
  }
  void expect_near(double found, double expected) {
    EXPECT_NEAR(found, expected, 2e-6 * std::max(1.0, std::abs(expected)));
  }

  Shape shape_;
  Workload workload_;
  Inputs in_;
  ThreadPool pool_{2};
  std::vector<std::int64_t> all_;
};

TEST_P(OracleGradients, OutputsMatchTheLoss) {
  double sum = 0;
  const auto tokens = oracle().tokens(all_);
  for (std::int64_t t = 0; t < shape_.tokens; ++t)
    for (std::int64_t i = 0; i < shape_.hidden; ++i) sum += in_.dy[t * shape_.hidden + i] * tokens[t].y[i];
  expect_near(sum, loss(in_));
}

TEST_P(OracleGradients, OfTheScoresAreSumsOfTermsOfTheirNorm) {
  const double max = std::sqrt(static_cast<double>(shape_.hidden));  // Cauchy and Schwarz
  for (const OracleToken& token : oracle().tokens(all_))
    for (std::size_t j = 0; j < token.dscore.size(); ++j) {
      EXPECT_GT(token.dscore_terms[j], 0);
      EXPECT_LE(std::abs(token.dscore[j]), max * token.dscore_terms[j]);
    }
}

TEST_P(OracleGradients, OfTheInputMatchFiniteDifferences) {
  const auto tokens = oracle().tokens(all_);
  for (std::int64_t i = 0; i < std::ssize(in_.x); ++i)
    expect_near(tokens[i / shape_.hidden].dx[i % shape_.hidden], slope(in_, &Inputs::x, i));
}

TEST_P(OracleGradients, OfTheGateMatchFiniteDifferences) {
  const auto dgate = oracle().dgate();
  for (std::int64_t i = 0; i < std::ssize(dgate); ++i) expect_near(dgate[i], slope(in_, &Inputs::gate, i));
}

TEST_P(OracleGradients, OfTheExpertsMatchFiniteDifferences) {
  const std::int64_t h = shape_.hidden, f = shape_.ffn, w = shape_.w1_cols();
  std::vector<std::int64_t> units(f);
  std::iota(units.begin(), units.end(), 0);
  const Oracle exact = oracle();
  for (std::int64_t e = 0; e < shape_.experts; ++e) {
    const auto found = exact.units(e, units);
    for (std::int64_t j = 0; j < f; ++j) {
      for (std::int64_t c = 0; c < w / f; ++c) {
        expect_near(found[j].db1[c], slope(in_, &Inputs::b1, e * w + c * f + j));
        for (std::int64_t i = 0; i < h; ++i)
          expect_near(found[j].dw1[c * h + i], slope(in_, &Inputs::w1, (e * h + i) * w + c * f + j));
      }
      for (std::int64_t i = 0; i < h; ++i)
        expect_near(found[j].dw2[i], slope(in_, &Inputs::w2, (e * f + j) * h + i));
    }
    const auto db2 = exact.db2(e);
    for (std::int64_t i = 0; i < h; ++i) expect_near(db2[i], slope(in_, &Inputs::b2, e * h + i));
  }
}

INSTANTIATE_TEST_SUITE_P(Oracle, OracleGradients, testing::Values(Activation::gelu, Activation::swiglu),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(OracleTerms, AreThoseOfRoundedOperandsInTf32Only) {
  EXPECT_EQ(oracle::exact_operands(DType::tf32), 1);  // stored in fp32, rounded when they are multiplied
  EXPECT_LT(oracle::exact_operands(DType::bf16), 1e-4);
  EXPECT_LT(oracle::exact_operands(DType::fp16), 1e-3);
}

}  // namespace
}  // namespace moebench
