// SPDX-License-Identifier: Apache-2.0
#include "report/grid.h"

#include <algorithm>

#include "base/text.h"

namespace moebench {
namespace {

bool is_numeric(std::string_view cell) {
  return cell.empty() || cell == "–" || cell == "?" || to_double(cell.substr(0, cell.find(' '))).has_value();
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

std::string Grid::text() const {
  const std::size_t columns = header_.size();
  std::vector<std::size_t> widths(columns);
  std::vector<bool> right(columns, true);
  for (std::size_t c = 0; c < columns; ++c) {
    widths[c] = display_width(header_[c]);
    bool any = false;
    for (const auto& row : rows_) {
      if (c >= row.cells.size()) continue;
      widths[c] = std::max(widths[c], display_width(row.cells[c]));
      any = any || (is_numeric(row.cells[c]) && !row.cells[c].empty());
      // A word in place of a figure, with its reason beneath, does not make the column one of words.
      if (!is_numeric(row.cells[c]) && row.notes.empty()) right[c] = false;
    }
    right[c] = right[c] && any;
  }
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
    for (const auto& note : row.notes) text += cat("  └ ", note, "\n");
  }
  return text;
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
