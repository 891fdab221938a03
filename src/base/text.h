// SPDX-License-Identifier: Apache-2.0
// Text: joining, splitting, strict numbers, and the nearest valid word for a typo.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moebench {

/// All arguments streamed into one string.
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// printf into a string; `format` is a literal.
[[gnu::format(printf, 1, 2)]] std::string format(const char* format, ...);

std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trimmed(std::string_view text);
/// "GPU-4d2c1a7e-0b1f-…", as nvidia-smi writes a GPU's UUID.
std::string gpu_uuid_text(const char (&bytes)[16]);

/// The whole of `text` as a number, or nothing: no sign on integers, no trailing characters.
std::optional<std::int64_t> to_int(std::string_view text);
std::optional<double> to_double(std::string_view text);

/// The candidate with the fewest edits to `word`, if few enough for a typo; else the shortest that begins with it.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "unknown <what> '<word>'; did you mean '…'? valid: a, b, c".
std::string unknown(std::string_view what, std::string_view word, const std::vector<std::string>& valid);
/// Throws UsageError with that.
[[noreturn]] void throw_unknown(std::string_view what, std::string_view word,
                                const std::vector<std::string>& valid);

/// An enumeration and the words users type for it, both ways.
template <class Enum, std::size_t N>
struct Words {
  std::array<std::pair<Enum, std::string_view>, N> entries;

  constexpr std::string_view name(Enum value) const {
    for (const auto& [entry, word] : entries)
      if (entry == value) return word;
    return "?";
  }
  /// Throws UsageError naming `what` and the valid words.
  Enum parse(std::string_view what, std::string_view word) const {
    for (const auto& [entry, valid] : entries)
      if (valid == word) return entry;
    std::vector<std::string> words;
    for (const auto& [entry, valid] : entries) words.emplace_back(valid);
    throw_unknown(what, word, words);
  }
};

}  // namespace moebench
