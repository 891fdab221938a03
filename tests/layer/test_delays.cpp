// SPDX-License-Identifier: Apache-2.0
// Iterations back to back, with random delays of random ranks before random stages: every output is the one that the same
// inputs gave without delays, bit by bit. Under mpirun.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/random.h"
#include "base/text.h"
#include "layer/backend_under_test.h"
#include "layer/layer.h"
#include "layer/relative_error.h"
#include "layer/verify.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

constexpr int kInputSets = 5, kRounds = 200;

/// Lets this rank wait before one stage of sixteen, up to 200 µs.
class DelayingTrace final : public Trace {
 public:
  explicit DelayingTrace(std::uint64_t seed) : seed_(seed) {}

  void begin(Stage, Pass) override {
    const std::uint64_t draw = mix(seed_, count_++);
    constexpr std::uint64_t kOneIn = 16, kMax_us = 200;
    if (draw % kOneIn == 0) std::this_thread::sleep_for(std::chrono::microseconds(draw / kOneIn % kMax_us));
  }
  void end(Stage, Pass) override {}

 private:
  std::uint64_t seed_, count_ = 0;
};

using Outputs = std::vector<std::vector<float>>;

/// A layer on all ranks with inputs that rotate.
class Rotation {
 public:
  Rotation(const Shape& shape, const LayerOptions& options)
      : shape_(shape),
        backend_(backend_under_test()),
        groups_(world_under_test().make_comm(backend_->memory(), backend_->stream()), shape.ep),
        workload_(shape, parse_routing("rotate:0.6"), 7),
        layer_(shape, groups_, *backend_, options) {
    layer_.load(workload_);
    for (std::vector<Tensor>* tensors : {&x_, &dy_, &y_, &dx_})
      for (int set = 0; set < kInputSets; ++set)
        tensors->emplace_back(backend_->memory(), shape.dtype, tokens(), shape.hidden);
    const std::int64_t first = shape.first_token(world_under_test().rank());
    std::vector<float> host(static_cast<std::size_t>(tokens() * shape.hidden));
    for (int set = 0; set < kInputSets; ++set) {
      workload_.input(set, first, tokens(), host);
      backend_->upload(x_[static_cast<std::size_t>(set)], host);
      workload_.output_gradient(set, first, tokens(), host);
      backend_->upload(dy_[static_cast<std::size_t>(set)], host);
    }
  }

  /// Every input set once, one after the other, with no wait of this test's. What that wrote: y and dx of each set, and
  /// the gradients of the last.
  Outputs run(Trace& trace) {
    for (std::size_t set = 0; set < kInputSets; ++set) {
      layer_.forward(x_[set], y_[set], trace, static_cast<int>(set));
      layer_.backward(x_[set], dy_[set], dx_[set], trace);
    }
    Outputs outputs;
    for (const std::vector<Tensor>* tensors : {&y_, &dx_})
      for (const Tensor& tensor : *tensors) outputs.push_back(download(*backend_, tensor));
    for (const ParameterTensors& parameter : layer_.parameters().all())
      outputs.push_back(download(*backend_, parameter.gradient));
    return outputs;
  }
  void settle() { layer_.settle(); }

 private:
  std::int64_t tokens() const { return shape_.tokens_of(world_under_test().rank()); }

  Shape shape_;
  std::unique_ptr<Backend> backend_;
  Groups groups_;
  Workload workload_;
  Layer layer_;
  std::vector<Tensor> x_, dy_, y_, dx_;  ///< of each input set
};

bool same_bits(const Outputs& a, const Outputs& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](auto& x, auto& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  });
}

class Delays : public testing::TestWithParam<Exchange> {};

TEST_P(Delays, ChangeNoBitOfAThousandIterations) {
  World& world = world_under_test();
  const Shape shape{.tokens = 24 * world.size(),
                    .hidden = 16,
                    .ffn = 8,
                    .experts = 8,
                    .top_k = 3,
                    .ranks = world.size(),
                    .ep = world.size()};
  Rotation rotation(shape, {.exchange = GetParam()}), plain(shape, {.exchange = Exchange::fused});
  NoTrace undisturbed;
  const Outputs expected = rotation.run(undisturbed), by_messages = plain.run(undisturbed);
  ASSERT_EQ(expected.size(), by_messages.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    RelativeError difference;
    for (std::size_t j = 0; j < expected[i].size(); ++j) difference.add(expected[i][j], by_messages[i][j]);
    EXPECT_LE(difference.relative(), error_bound(shape.dtype)) << "output " << i;
  }
  rotation.settle();
  DelayingTrace trace(mix(11, static_cast<std::uint64_t>(world.rank())));
  int wrong = 0;
  for (int round = 0; round < kRounds; ++round) wrong += !same_bits(rotation.run(trace), expected);
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Layer, Delays, testing::Values(Exchange::fused, Exchange::direct),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace
}  // namespace moebench
