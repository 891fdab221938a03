// SPDX-License-Identifier: Apache-2.0
#include "report/grid.h"

#include <algorithm>
#include <numeric>

#include "base/text.h"

namespace moebench {
namespace {

bool is_numeric(std::string_view cell) {
  return cell.empty() || cell == "–" || cell == "?" || cell == "? !" ||
         to_double(cell.substr(0, cell.find(' '))).has_value();
}

std::string spaces(std::size_t count) { return std::string(count, ' '); }

std::string without_trailing_spaces(std::string text) {
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  // Every byte but the continuation bytes of UTF-8 begins a character.
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](unsigned char byte) { return (byte & 0xC0) != 0x80; }));
}

std::vector<std::size_t> Grid::widths() const {
  std::vector<std::size_t> widths;
  for (const auto& name : header_) widths.push_back(display_width(name));
  for (const auto& row : rows_)
    for (std::size_t c = 0; c < std::min(widths.size(), row.cells.size()); ++c)
      widths[c] = std::max(widths[c], display_width(row.cells[c]));
  return widths;
}

std::vector<bool> Grid::right_aligned() const {
  std::vector<bool> right(header_.size(), true);
  for (std::size_t c = 0; c < header_.size(); ++c) {
    bool any = false;
    for (const auto& row : rows_) {
      if (c >= row.cells.size()) continue;
      any = any || (is_numeric(row.cells[c]) && !row.cells[c].empty());
      // A word in place of a figure, with its reason beneath, does not make the column one of words.
      if (!is_numeric(row.cells[c]) && row.notes.empty()) right[c] = false;
    }
    right[c] = right[c] && any;
  }
  return right;
}

/// Makes the widest column of words one narrower; false if all are as narrow as can be read.
bool Grid::shorten_a_word() {
  constexpr std::size_t kMin = 5;
  const auto wide = widths();
  const auto right = right_aligned();
  std::size_t widest = kMin, found = header_.size();
  for (std::size_t c = 0; c < header_.size(); ++c)
    if (!right[c] && wide[c] > widest) widest = wide[found = c];
  if (found == header_.size()) return false;
  header_[found] = shortened(header_[found], widest - 1);
  for (auto& row : rows_)
    if (found < row.cells.size()) row.cells[found] = shortened(row.cells[found], widest - 1);
  return true;
}

std::vector<std::string> Grid::fit(std::size_t columns, const std::vector<std::string_view>& spare) {
  std::vector<std::string> left_out;
  const auto too_wide = [&] {
    const auto all = widths();
    return std::accumulate(all.begin(), all.end(), 2 * (all.size() - 1)) > columns;
  };
  for (const std::string_view name : spare) {
    if (!too_wide()) break;
    const auto found = std::find_if(header_.begin(), header_.end(),
                                    [&](const std::string& header) { return header.starts_with(name); });
    if (found == header_.end()) continue;
    const auto c = found - header_.begin();
    left_out.push_back(*found);
    header_.erase(found);
    for (auto& row : rows_)
      if (c < std::ssize(row.cells)) row.cells.erase(row.cells.begin() + c);
  }
  while (too_wide() && shorten_a_word()) {
  }
  return left_out;
}

std::string Grid::text(std::size_t wide) const {
  const std::size_t columns = header_.size();
  const std::vector<std::size_t> widths = this->widths();
  const std::vector<bool> right = right_aligned();
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const auto padding = spaces(widths[c] - display_width(cells[c]));
      text += (c > 0 ? "  " : "") + (right[c] ? padding + cells[c] : cells[c] + padding);
    }
    return without_trailing_spaces(text) + "\n";
  };
  std::string text = line(header_);
  for (std::size_t c = 0; c < columns; ++c) {
    if (c > 0) text += "  ";
    for (std::size_t i = 0; i < widths[c]; ++i) text += "─";
  }
  text += "\n";
  for (const auto& row : rows_) {
    text += line(row.cells);
    for (const auto& note : row.notes) text += broken(cat("  └ ", note), wide, "    ");
  }
  return text;
}

std::string cut(std::string_view text, std::size_t columns) {
  std::size_t end = 0;
  for (std::size_t seen = 0; end < text.size(); ++end) {
    const bool begins = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
    if (begins && seen++ == columns) break;
  }
  return std::string(text.substr(0, end));
}

std::string shortened(std::string_view text, std::size_t columns) {
  constexpr std::size_t kMin = 4;
  if (display_width(text) <= columns) return std::string(text);
  return columns < kMin ? std::string() : cut(text, columns - 1) + "…";
}

std::string broken(std::string_view sentence, std::size_t columns, std::string_view indent) {
  if (columns == 0 || display_width(sentence) <= columns) return cat(sentence, "\n");
  const std::size_t lead = sentence.find_first_not_of(' ');
  std::string text, line(sentence.substr(0, lead));
  bool fresh = true;  // no word stands in the line yet
  for (const std::string& word : split(sentence.substr(lead), ' ')) {
    if (!fresh && display_width(line) + 1 + display_width(word) > columns) {
      text += line + "\n";
      line = indent;
      fresh = true;
    }
    line += fresh ? word : cat(" ", word);
    fresh = false;
  }
  return text + line + "\n";
}

namespace {

/// How far in what follows the first of several lines begins.
std::size_t hanging_indent(const std::string& line, std::size_t lead, std::size_t columns) {
  std::size_t hanging = std::min(lead + 4, columns / 2);
  for (std::size_t at = line.find("  ", lead); at != std::string::npos; at = line.find("  ", at)) {
    at = std::min(line.find_first_not_of(' ', at), line.size());
    if (const std::size_t width = display_width(line.substr(0, at)); 2 * width <= columns) hanging = width;
  }
  return hanging;
}

std::string folded_line(const std::string& line, std::size_t columns) {
  if (display_width(line) <= columns) return line + "\n";
  const std::size_t lead = line.find_first_not_of(' ');
  const std::string indent(hanging_indent(line, lead, columns), ' ');
  std::string text, now(std::min(lead, columns / 2), ' ');
  bool fresh = true;  // no word stands in the line yet
  const auto end_line = [&] { text += now + "\n", now = indent, fresh = true; };
  for (std::string word : split(std::string_view(line).substr(lead), ' ')) {
    if (fresh && word.empty()) continue;
    if (!fresh && display_width(now) + 1 + display_width(word) > columns) end_line();
    if (!fresh) now += ' ';
    while (display_width(now) + display_width(word) > columns) {  // longer than a line
      const std::string part = cut(word, columns - display_width(now));
      now += part, word.erase(0, part.size());
      end_line();
    }
    now += word, fresh = false;
  }
  return text + now + "\n";
}

}  // namespace

std::string folded(std::string_view text, std::size_t columns) {
  constexpr std::size_t kMin = 20;
  if (columns == 0) return std::string(text);
  std::string lines;
  for (const std::string& line : split(text, '\n')) lines += folded_line(line, std::max(columns, kMin));
  lines.pop_back();  // split() gives an empty line behind the last break
  return lines;
}

std::string wrapped(const std::vector<std::string>& parts, std::string_view separator, std::size_t columns) {
  std::string text, line;
  for (const auto& part : parts) {
    if (!line.empty() && display_width(line) + display_width(separator) + display_width(part) > columns) {
      text += line + "\n";
      line.clear();
    }
    line += line.empty() ? part : cat(separator, part);
  }
  return text + line + "\n";
}

}  // namespace moebench
