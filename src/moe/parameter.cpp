// SPDX-License-Identifier: Apache-2.0
#include "moe/parameter.h"

#include <array>

namespace moebench {

std::string_view name_of(Tag tag) {
  constexpr std::array<std::string_view, 3> kNames{"world", "data_parallel", "none"};
  return kNames[static_cast<std::size_t>(tag)];
}

std::string_view name_of(Parameter parameter) {
  constexpr std::array<std::string_view, 9> kNames{"gate",      "w1",        "b1",        "w2",       "b2",
                                                   "shared_w1", "shared_b1", "shared_w2", "shared_b2"};
  return kNames[static_cast<std::size_t>(parameter)];
}

std::vector<ParameterSpec> parameters_of(const Shape& shape, int rank) {
  const Tag expert = shape.ranks > shape.ep ? Tag::data_parallel : Tag::none;
  const std::int64_t e = shape.experts_per_rank(), first = shape.first_expert(rank);
  std::vector<ParameterSpec> specs;
  const auto add = [&](Parameter id, Tag tag, std::int64_t count, std::int64_t rows, std::int64_t cols,
                       std::int64_t first_matrix) {
    const DType dtype = id == Parameter::gate ? shape.router_dtype() : shape.dtype;
    specs.push_back({id, name_of(id), tag, count, dtype, rows, cols, first_matrix * rows * cols});
  };
  add(Parameter::gate, Tag::world, 1, shape.hidden, shape.experts, 0);
  add(Parameter::w1, expert, e, shape.hidden, shape.w1_cols(), first);
  if (shape.bias) add(Parameter::b1, expert, e, 1, shape.w1_cols(), first);
  add(Parameter::w2, expert, e, shape.ffn, shape.hidden, first);
  if (shape.bias) add(Parameter::b2, expert, e, 1, shape.hidden, first);
  if (shape.shared_experts == 0) return specs;
  const Shape shared = shared_shape(shape);
  add(Parameter::shared_w1, Tag::world, 1, shared.hidden, shared.w1_cols(), 0);
  if (shape.bias) add(Parameter::shared_b1, Tag::world, 1, 1, shared.w1_cols(), 0);
  add(Parameter::shared_w2, Tag::world, 1, shared.ffn, shared.hidden, 0);
  if (shape.bias) add(Parameter::shared_b2, Tag::world, 1, 1, shared.hidden, 0);
  return specs;
}

}  // namespace moebench
