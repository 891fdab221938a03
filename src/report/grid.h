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
  /// Leaves out columns until the text is at most `columns` wide: those whose header begins with a word of `spare`, in
  /// that order; then words are shortened. Returns the headers of what was left out. Figures stay whole, also where
  /// the text is then still too wide.
  std::vector<std::string> fit(std::size_t columns, const std::vector<std::string_view>& spare);
  /// Ends in a line break. Notes are broken between words at `columns`; 0: not at all.
  std::string text(std::size_t columns = 0) const;

 private:
  struct Row {
    std::vector<std::string> cells, notes;
  };
  std::vector<std::size_t> widths() const;
  std::vector<bool> right_aligned() const;
  bool shorten_a_word();
  std::vector<std::string> header_;
  std::vector<Row> rows_;
};

/// Columns that `text` takes on a terminal, if each of its characters takes one.
std::size_t display_width(std::string_view text);

/// The first `columns` characters of `text`.
std::string cut(std::string_view text, std::size_t columns);

/// `text` in `columns`, with an ellipsis for what does not fit; empty where that would leave nothing to read.
std::string shortened(std::string_view text, std::size_t columns);

/// `sentence` in lines of at most `columns`, broken between words, each but the first behind `indent`. Ends in a line
/// break.
std::string broken(std::string_view sentence, std::size_t columns, std::string_view indent = "");

/// `text` with each line that is wider than `columns` broken between words: what follows stands below the last of the line's
/// columns (behind two blanks or more) that begins in the left half, else four blanks further in than the line.
/// 0: as it is.
std::string folded(std::string_view text, std::size_t columns);

/// `parts` joined by `separator`, broken into lines of at most `columns` between parts. Ends in a line break.
std::string wrapped(const std::vector<std::string>& parts, std::string_view separator,
                    std::size_t columns = 100);

}  // namespace moebench
