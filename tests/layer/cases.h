// SPDX-License-Identifier: Apache-2.0
// The shapes and routings on which every engine of every backend is held to the oracle.
#pragma once

#include "moe/shape.h"
#include "moe/workload.h"

namespace moebench {

/// A shape that is ordinary or hostile in one respect.
struct NamedCase {
  const char* name;
  Shape shape;
  RoutingDistribution routing = {};
};

inline Shape with(Shape shape, auto change) {
  change(shape);
  return shape;
}

inline const Shape kSmall{.tokens = 37, .hidden = 24, .ffn = 40, .experts = 6, .top_k = 2};

/// What a full check compares.
inline std::size_t items_of(const Shape& shape) {
  const std::size_t of_experts = shape.bias ? 4 : 2;  // gradients
  return 6 + of_experts * (shape.shared_experts > 0 ? 2 : 1);
}

inline const NamedCase kLayerCases[] = {
    {"small", kSmall},
    {"swiglu", with(kSmall, [](Shape& s) { s.activation = Activation::swiglu; })},
    {"bias", with(kSmall, [](Shape& s) { s.bias = true; })},
    {"swiglu_bias", with(kSmall,
                         [](Shape& s) {
                           s.activation = Activation::swiglu;
                           s.bias = true;
                         })},
    {"one_token", with(kSmall, [](Shape& s) { s.tokens = 1; })},
    {"no_token", with(kSmall, [](Shape& s) { s.tokens = 0; })},
    {"one_expert", with(kSmall,
                        [](Shape& s) {
                          s.experts = 1;
                          s.top_k = 1;
                        })},
    {"every_expert", with(kSmall, [](Shape& s) { s.top_k = 6; })},
    {"width_one", with(kSmall,
                       [](Shape& s) {
                         s.hidden = 1;
                         s.ffn = 1;
                       })},
    {"width_three", with(kSmall,
                         [](Shape& s) {
                           s.hidden = 3;
                           s.ffn = 5;
                         })},
    {"odd_widths", with(kSmall,
                        [](Shape& s) {
                          s.hidden = 17;
                          s.ffn = 31;
                          s.experts = 5;
                          s.top_k = 3;
                        })},
    {"odd_widths_swiglu_bias", with(kSmall,
                                    [](Shape& s) {
                                      s.hidden = 17;
                                      s.ffn = 31;
                                      s.activation = Activation::swiglu;
                                      s.bias = true;
                                    })},
    {"more_experts_than_rows", with(kSmall,
                                    [](Shape& s) {
                                      s.tokens = 3;
                                      s.experts = 64;
                                      s.hidden = 72;
                                      s.bias = true;
                                    })},
    {"all_to_one", with(kSmall, [](Shape& s) { s.bias = true; }), parse_routing("one")},
    {"zipf", with(kSmall, [](Shape& s) { s.tokens = 200; }), parse_routing("zipf:1.5")},
    {"hot", with(kSmall, [](Shape& s) { s.tokens = 200; }), parse_routing("hot:0.9")},
    {"balanced", kSmall, parse_routing("balanced")},
    {"one_shared_expert", with(kSmall, [](Shape& s) { s.shared_experts = 1; })},
    {"shared_experts_swiglu_bias",
     with(kSmall,
          [](Shape& s) {
            s.shared_experts = 3;
            s.activation = Activation::swiglu;
            s.bias = true;
          }),
     parse_routing("zipf:1")},
    {"shared_expert_and_no_token", with(kSmall,
                                        [](Shape& s) {
                                          s.tokens = 0;
                                          s.shared_experts = 1;
                                        })},
    {"wider", {.tokens = 300, .hidden = 256, .ffn = 512, .experts = 16, .top_k = 4}},
};

}  // namespace moebench
