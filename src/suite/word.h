// SPDX-License-Identifier: Apache-2.0
// Words of sets that other modules extend: backends and their engines, comms, gates.
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace moebench {

/// A word of one such set. `Set` makes words of different sets different types, so that an engine is not compared
/// with a backend. Whether the word is known is asked once, where a case is made (resolve()).
template <class Set>
class Word {
 public:  // NOLINTBEGIN(google-explicit-constructor): a word converts from and to its text
  Word() = default;
  Word(std::string text) : text_(std::move(text)) {}
  Word(std::string_view text) : text_(text) {}
  Word(const char* text) : text_(text) {}

  const std::string& text() const { return text_; }
  operator const std::string&() const { return text_; }
  operator std::string_view() const { return text_; }
  // NOLINTEND(google-explicit-constructor)
  friend bool operator==(const Word&, const Word&) = default;
  friend bool operator==(const Word& word, std::string_view text) { return word.text_ == text; }
  friend bool operator==(const Word& word, const char* text) { return word.text_ == text; }
  friend std::ostream& operator<<(std::ostream& out, const Word& word) { return out << word.text_; }

 private:
  std::string text_;
};

using BackendName = Word<struct BackendSet>;
using EngineName = Word<struct EngineSet>;
using CommName = Word<struct CommSet>;
using GateName = Word<struct GateSet>;

/// Stands for the best that there is, of backends, engines and comms alike.
inline constexpr std::string_view kAuto = "auto";
/// The engine that has streams (`--streams`).
inline constexpr std::string_view kStreamsEngine = "streams";

}  // namespace moebench
