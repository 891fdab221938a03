// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "moe/parameter.h"

namespace moebench {
namespace {

const Shape kShape{
    .tokens = 8, .hidden = 4, .ffn = 6, .experts = 8, .top_k = 2, .ranks = 4, .ep = 2, .bias = true};

TEST(Parameters, AreSharedByTheWorldOrByReplicasOrByNobody) {
  for (const ParameterSpec& spec : parameters_of(kShape, 0))
    EXPECT_EQ(spec.tag, spec.id == Parameter::gate ? Tag::world : Tag::data_parallel) << spec.name;
  Shape alone = kShape;
  alone.ep = 4;
  for (const ParameterSpec& spec : parameters_of(alone, 0))
    EXPECT_EQ(spec.tag, spec.id == Parameter::gate ? Tag::world : Tag::none) << spec.name;
}

TEST(Parameters, OfOneGroupCoverTheGlobalTensorOnce) {
  for (const Parameter id : {Parameter::w1, Parameter::b1, Parameter::w2, Parameter::b2}) {
    std::int64_t next = 0;
    for (int rank = 0; rank < kShape.ep; ++rank)
      for (const ParameterSpec& spec : parameters_of(kShape, rank))
        if (spec.id == id) {
          EXPECT_EQ(spec.first_element, next) << spec.name;
          next += spec.elements();
        }
    EXPECT_GT(next, 0);
  }
}

TEST(Parameters, OfReplicasAreTheSame) {
  const auto first = parameters_of(kShape, 1), replica = parameters_of(kShape, 3);
  ASSERT_EQ(first.size(), replica.size());
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].first_element, replica[i].first_element);
}

TEST(Parameters, HaveTwoUpColumnsForSwigluAndNoBiasUnlessAsked) {
  Shape shape = kShape;
  shape.activation = Activation::swiglu;
  shape.bias = false;
  const auto specs = parameters_of(shape, 0);
  ASSERT_EQ(specs.size(), 3u);
  EXPECT_EQ(specs[1].cols, 12);
}

}  // namespace
}  // namespace moebench
