// SPDX-License-Identifier: Apache-2.0
#include "suite/json_entries.h"

#include <cstddef>
#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

using nlohmann::json;

/// Walks the text and counts the lines passed. The parser's copies share the count: it reads one character
/// at a time, and a key is reported before anything after its closing quote is read, so its line is exact.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, int* line) : at_(at), line_(line) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    if (*at_ == '\n') ++*line_;
    ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    const CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  int* line_;
};

/// Turns the parser's events into entries; refuses by throwing.
class Collector : public nlohmann::json_sax<json> {
 public:
  Collector(const std::string& origin, const int& line) : origin_(origin), line_(line) {}

  bool key(string_t& name) override {
    if (!seen_.insert({section_, item_, name}).second) refuse(cat("the key \"", name, "\" is given twice"));
    key_ = name;
    entries_.push_back({.section = section_, .key = name, .item = item_, .line = line_, .is_string = true});
    return true;
  }
  bool start_object(std::size_t) override {
    if ((in_array_ && depth_ > 1) || ++depth_ > 2) refuse(cat("\"", key_, "\" must not hold an object"));
    if (depth_ == 1) return true;
    JsonEntry& holder = in_array_ ? entries_[array_] : entries_.back();
    holder.is_object = true;
    holder.is_string = false;
    section_ = holder.key;
    item_ = in_array_ ? item_ + 1 : -1;
    in_item_ = std::exchange(in_array_, false);
    return true;
  }
  bool end_object() override {
    --depth_;
    section_.clear();
    in_array_ = std::exchange(in_item_, false);
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ == 0) refuse("a suite is an object { }, not an array");
    if (in_array_) refuse(cat("\"", key_, "\" must not hold an array of arrays"));
    entries_.back().is_array = in_array_ = true;
    if (depth_ == 1) array_ = entries_.size() - 1;
    return true;
  }
  bool end_array() override {
    in_array_ = false;
    if (depth_ == 1) item_ = -1;
    return true;
  }
  bool string(string_t& text) override { return value(text, true); }
  bool boolean(bool on) override {
    value(on ? "on" : "off", false);
    (in_array_ && depth_ == 1 ? entries_[array_] : entries_.back()).is_boolean = true;
    return true;
  }
  bool number_integer(number_integer_t number) override { return value(cat(number), false); }
  bool number_unsigned(number_unsigned_t number) override { return value(cat(number), false); }
  bool number_float(number_float_t, const string_t& text) override { return value(text, false); }
  bool null() override { refuse(cat("\"", key_, "\" must not be null")); }
  bool binary(binary_t&) override { return false; }
  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 3, column 5: what is wrong"
    const std::string text = error.what();
    int at = line_, column = 0;
    if (const auto place = text.find("at line "); place != std::string::npos)
      std::sscanf(text.c_str() + place, "at line %d, column %d", &at, &column);
    const auto what = text.find(": ");
    constexpr std::size_t kMaxText = 200;  // it quotes the last token, however long
    throw UsageError(cat(origin_, ":", at, ": malformed JSON: ",
                         text.substr(what == std::string::npos ? 0 : what + 2, kMaxText)));
  }

  std::vector<JsonEntry> take() { return std::move(entries_); }

 private:
  bool value(std::string text, bool is_string) {
    if (depth_ == 0) refuse("a suite is an object { }, not a single value");
    JsonEntry& entry = in_array_ && depth_ == 1 ? entries_[array_] : entries_.back();
    entry.is_string = entry.is_string && is_string;
    entry.values.push_back(std::move(text));
    return true;
  }
  [[noreturn]] void refuse(const std::string& what) {
    throw UsageError(cat(origin_, ":", line_, ": ", what));
  }

  const std::string& origin_;
  const int& line_;
  std::vector<JsonEntry> entries_;
  std::set<std::tuple<std::string, int, std::string>> seen_;
  std::string section_, key_;
  std::size_t array_ = 0;  ///< the entry of the outermost object's array that is being read
  int item_ = -1;          ///< which object of it
  int depth_ = 0;
  bool in_array_ = false, in_item_ = false;
};

}  // namespace

std::vector<JsonEntry> json_entries(std::string_view text, const std::string& origin) {
  int line = 1;
  Collector collector(origin, line);
  const char* const begin = text.data();
  json::sax_parse(CountingIterator(begin, &line), CountingIterator(begin + text.size(), &line), &collector,
                  nlohmann::detail::input_format_t::json, true,
                  true);  // strict, and comments are passed over
  return collector.take();
}

}  // namespace moebench
