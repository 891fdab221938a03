// SPDX-License-Identifier: Apache-2.0
// The largest error of any row of a tensor, and of any element, so that one wrong row is seen among a million.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "layer/relative_error.h"

namespace moebench {

/// The factor by which chance lets the worst of `count` groups of `n` errors exceed their root mean square. For
/// independent errors with normal tails: a sum of n squares exceeds n + 2·sqrt(n·t) + 2·t with probability exp(-t)
/// (Laurent and Massart, Ann. Statist. 28(5), 2000, lemma 1), whose root is no more than sqrt(n) + sqrt(2·t).
inline double chance(std::int64_t n, std::int64_t count) {
  constexpr double kFalseAlarms = 1e-6;
  const double groups = static_cast<double>(count > 0 ? count : 1);
  return 1 + std::sqrt(2 * std::log(groups / kFalseAlarms) / static_cast<double>(n > 0 ? n : 1));
}

/// Sums over one row.
struct RowSums {
  double error = 0, reference = 0;  ///< squares
  double worst = 0, tip = 0;        ///< the largest |out - expected|, and |expected| there

  void add(double out, double expected) {
    const double off = std::abs(out - expected);
    error += off * off;
    reference += expected * expected;
    if (!(off > worst)) return;
    worst = off;
    tip = std::abs(expected);
  }
};

/// The worst row of a tensor. A row's error is relative to the norm of the expected row, or of the terms that the
/// row is a sum of where that is larger; an element's to the row's root mean square, or to itself. Both are divided
/// by what chance() allows, so that one bound holds for rows and elements of every size. NaN stays NaN.
class RowErrors {
 public:
  /// Of `rows` rows of `columns` elements, over all ranks.
  RowErrors(std::int64_t columns, std::int64_t rows)
      : columns_(columns), by_row_(chance(columns, rows)), by_element_(chance(1, rows * columns)) {}

  /// `name` is called if this row is the worst so far.
  template <class Name>
  void add(const RowSums& row, double terms, Name name) {
    const double error = relative(row, terms);
    if (error <= largest_ || std::isnan(largest_)) return;
    largest_ = error;
    where_ = name();
  }
  /// Makes this the item's error where it is worse.
  void merge_into(CheckItem& item, const std::string& prefix = {}) const {
    if (largest_ <= item.error || std::isnan(item.error)) return;
    item.error = largest_;
    item.where = prefix + where_;
  }
  double largest() const { return largest_; }
  const std::string& where() const { return where_; }

 private:
  double relative(const RowSums& row, double terms) const {
    if (std::isnan(row.error)) return row.error;
    const double scale = std::fmax(std::sqrt(row.reference), terms);
    if (!(scale > 0)) return row.error == 0 ? 0 : std::numeric_limits<double>::infinity();
    const double element = std::fmax(row.tip, scale / std::sqrt(static_cast<double>(columns_)));
    return std::fmax(std::sqrt(row.error) / scale / by_row_, row.worst / element / by_element_);
  }

  std::int64_t columns_;
  double by_row_, by_element_;
  double largest_ = 0;
  std::string where_;
};

}  // namespace moebench
