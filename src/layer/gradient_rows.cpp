// SPDX-License-Identifier: Apache-2.0
#include "layer/gradient_rows.h"

#include <bit>
#include <cmath>
#include <string>

#include "base/text.h"

namespace moebench {
namespace {

/// The root of the mean of the squares of the expected norms in [begin, end).
double mean_norm(std::span<const RowSums> rows) {
  double sum = 0;
  for (const RowSums& row : rows) sum += row.reference;
  return rows.empty() ? 0 : std::sqrt(sum / static_cast<double>(rows.size()));
}

std::string unit_name(std::int64_t expert, std::int64_t unit) {
  return cat("expert ", expert, ", unit ", unit);
}

}  // namespace

ExpertGradients download_gradients(Backend& backend, const ExpertTensors& gradients, const Shape& shape,
                                   std::int64_t e) {
  const auto download = [&](const TensorView& tensor, std::int64_t rows) {
    if (!tensor.data) return std::vector<float>();
    const TensorView of_expert = tensor.slice(e * rows, rows);
    std::vector<float> host(static_cast<std::size_t>(of_expert.size()));
    backend.download(host, of_expert);
    return host;
  };
  return {download(gradients.w1, shape.hidden), download(gradients.b1, 1), download(gradients.w2, shape.ffn),
          download(gradients.b2, 1)};
}

std::uint64_t hash_of(const ExpertGradients& gradients) {
  std::uint64_t hash = 0xCBF29CE484222325ull;  // FNV-1a over 32-bit words
  for (const auto* values : {&gradients.w1, &gradients.b1, &gradients.w2, &gradients.b2})
    for (const float value : *values) hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001B3ull;
  return hash;
}

GradientErrors::GradientErrors(const Shape& of)
    : shape(of),
      w1(of.hidden, of.experts * of.w1_cols()),
      b1(1, of.experts * of.w1_cols()),
      w2(of.hidden, of.experts * of.ffn),
      b2(of.hidden, of.experts) {}

void GradientErrors::add(std::int64_t expert, const ExpertGradients& out, std::span<const std::int64_t> units,
                         const OracleGradients& expected) {
  const std::int64_t h = shape.hidden, f = shape.ffn, cols = shape.w1_cols();
  for (std::size_t u = 0; u < units.size(); ++u) {
    const OracleUnit& unit = expected.units[u];
    const auto name = [&] { return unit_name(expert, units[u]); };
    RowSums row;
    for (std::int64_t i = 0; i < h; ++i) row.add(out.w2[units[u] * h + i], unit.dw2[i]);
    w2.add(row, unit.dw2_terms, name);
    for (std::int64_t c = 0; c < cols / f; ++c) {
      RowSums column, bias;
      for (std::int64_t i = 0; i < h; ++i)
        column.add(out.w1[i * cols + c * f + units[u]], unit.dw1[c * h + i]);
      w1.add(column, unit.dw1_terms[c], name);
      if (!shape.bias) continue;
      bias.add(out.b1[c * f + units[u]], unit.db1[c]);
      b1.add(bias, unit.db1_terms[c], name);
    }
  }
  RowSums row;
  for (std::size_t i = 0; i < expected.db2.size(); ++i) row.add(out.b2[i], expected.db2[i]);
  if (shape.bias) b2.add(row, expected.db2_terms, [&] { return cat("expert ", expert); });
}

void GradientErrors::add(std::int64_t expert, const ExpertGradients& out, const ExpertGradients& expected,
                         ThreadPool& pool) {
  const std::int64_t h = shape.hidden, f = shape.ffn, cols = shape.w1_cols();
  std::vector<RowSums> columns(static_cast<std::size_t>(cols)), rows(static_cast<std::size_t>(f)),
      biases(out.b1.size());
  pool.parallel_for(cols, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < h; ++i)
      for (std::int64_t j = begin; j < end; ++j)
        columns[j].add(out.w1[i * cols + j], expected.w1[i * cols + j]);
  });
  pool.parallel_for(f, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = begin; j < end; ++j)
      for (std::int64_t i = 0; i < h; ++i) rows[j].add(out.w2[j * h + i], expected.w2[j * h + i]);
  });
  for (std::size_t j = 0; j < biases.size(); ++j) biases[j].add(out.b1[j], expected.b1[j]);
  const auto add_units = [&](RowErrors& errors, std::span<const RowSums> units) {
    const double terms = mean_norm(units);
    for (std::size_t j = 0; j < units.size(); ++j)
      errors.add(units[j], terms, [&] { return unit_name(expert, static_cast<std::int64_t>(j)); });
  };
  const auto width = static_cast<std::size_t>(f);
  for (std::size_t c = 0; c < static_cast<std::size_t>(cols / f); ++c) {
    add_units(w1, {&columns[c * width], width});
    if (shape.bias) add_units(b1, {&biases[c * width], width});
  }
  add_units(w2, rows);
  if (!shape.bias) return;
  RowSums row;
  for (std::size_t i = 0; i < out.b2.size(); ++i) row.add(out.b2[i], expected.b2[i]);
  b2.add(row, 0, [&] { return cat("expert ", expert); });
}

void GradientErrors::merge_into(CheckItem& item) const {
  w1.merge_into(item, "dw1 of ");
  w2.merge_into(item, "dw2 of ");
  b1.merge_into(item, "db1 of ");
  b2.merge_into(item, "db2 of ");
}

void GradientErrors::append_to(std::vector<CheckItem>& items, std::string_view prefix,
                               std::string_view suffix, double bound) const {
  const auto item = [&](const char* name, const RowErrors& rows) {
    items.push_back({cat(prefix, name, suffix), rows.largest(), bound, rows.where()});
  };
  item("w1", w1);
  item("w2", w2);
  if (!shape.bias) return;
  item("b1", b1);
  item("b2", b2);
}

}  // namespace moebench
