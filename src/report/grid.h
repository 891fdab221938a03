// SPDX-License-Identifier: Apache-2.0
// Lays out cells as aligned text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moebench {

/// Rows of cells under a header. A column whose cells are all numbers, or numbers with a unit, is aligned
/// right.
class Grid {
 public:
  explicit Grid(std::vector<std::string> header) : header_(std::move(header)) {}

  /// Missing cells at the end are empty.
  void add_row(std::vector<std::string> cells) { rows_.push_back({std::move(cells), {}}); }
  /// A line beneath the last row, indented.
  void add_note(std::string note) { rows_.back().notes.push_back(std::move(note)); }
  /// Ends in a line break.
  std::string text() const;

 private:
  struct Row {
    std::vector<std::string> cells, notes;
  };
  std::vector<std::string> header_;
  std::vector<Row> rows_;
};

/// Columns that `text` takes on a terminal, if each of its characters takes one.
std::size_t display_width(std::string_view text);

/// `parts` joined by `separator`, broken into lines of at most `columns` between parts. Ends in a line break.
std::string wrapped(const std::vector<std::string>& parts, std::string_view separator,
                    std::size_t columns = 100);

}  // namespace moebench
