// SPDX-License-Identifier: Apache-2.0
// One description of a structure serves to write it, to read it and to list its fields: `fields(io, thing)` names each
// field once, and `io` is a JsonWriter, a JsonReader or a JsonPaths.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace moebench {

/// Keeps the order in which keys were written: a report is read by people too.
using Json = nlohmann::ordered_json;

/// Numbers as numbers; what is not finite as null, and its path in `odd`.
class JsonWriter {
 public:
  static constexpr bool kReads = false;
  JsonWriter(Json& out, std::string path, std::vector<std::string>& odd)
      : out_(out), path_(std::move(path)), odd_(odd) {}

  void operator()(const char* key, double value) {
    if (!std::isfinite(value)) odd_.push_back(cat(path_, key, " is ", value));
    out_[key] = std::isfinite(value) ? Json(value) : Json(nullptr);
  }
  /// `absent` is written as null: it says "not measured", and null does not lie about it.
  void operator()(const char* key, double value, double absent) {
    if (value == absent)
      out_[key] = nullptr;
    else
      (*this)(key, value);
  }
  /// NaN is written as null without a remark: too little was measured to know it.
  void known(const char* key, double value) {
    if (std::isnan(value))
      out_[key] = nullptr;
    else
      (*this)(key, value);
  }
  void operator()(const char* key, std::integral auto value) { out_[key] = value; }
  void operator()(const char* key, const std::string& value) { out_[key] = value; }
  void operator()(const char* key, const std::vector<std::string>& values) { out_[key] = values; }
  template <class Value>
  void operator()(const char* key, const std::optional<Value>& value) {
    out_[key] = value ? Json(*value) : Json(nullptr);
  }
  /// An empty text is written as null.
  void text(const char* key, const std::string& value) {
    out_[key] = value.empty() ? Json(nullptr) : Json(value);
  }
  void numbers(const char* key, const std::vector<double>& values) {
    Json list = Json::array();
    for (const double value : values) list.push_back(value);
    out_[key] = std::move(list);
  }
  template <class Enum, class Parse>
  void word(const char* key, Enum value, Parse) {
    out_[key] = std::string(name_of(value));
  }
  template <class Fields>
  void object(const char* key, Fields fields, bool present = true) {
    out_[key] = present ? Json::object() : Json(nullptr);
    if (!present) return;
    JsonWriter inner(out_[key], cat(path_, key, "."), odd_);
    fields(inner);
  }
  template <class T, class Fields>
  void list(const char* key, const std::vector<T>& items, Fields fields, bool present = true) {
    out_[key] = present ? Json::array() : Json(nullptr);
    for (std::size_t i = 0; present && i < items.size(); ++i) {
      out_[key].push_back(Json::object());
      JsonWriter inner(out_[key].back(), cat(path_, key, "[", i, "]."), odd_);
      fields(inner, items[i]);
    }
  }

 private:
  Json& out_;
  std::string path_;
  std::vector<std::string>& odd_;
};

/// The paths of all values that fit in one cell of a table, "time.total.p50_us": numbers, texts and lists of texts.
class JsonPaths {
 public:
  static constexpr bool kReads = false;
  explicit JsonPaths(std::vector<std::string>& paths, std::string path = {})
      : paths_(paths), path_(std::move(path)) {}

  template <class Value>
  void operator()(const char* key, const Value&) {
    add(key);
  }
  void operator()(const char* key, double, double) { add(key); }
  void known(const char* key, double) { add(key); }
  void text(const char* key, const std::string&) { add(key); }
  void numbers(const char*, const std::vector<double>&) {}
  template <class Enum, class Parse>
  void word(const char* key, Enum, Parse) {
    add(key);
  }
  template <class Fields>
  void object(const char* key, Fields fields, bool = true) {
    JsonPaths inner(paths_, cat(path_, key, "."));
    fields(inner);
  }
  template <class T, class Fields>
  void list(const char*, const std::vector<T>&, Fields, bool = true) {}

 private:
  void add(const char* key) { paths_.push_back(cat(path_, key)); }

  std::vector<std::string>& paths_;
  std::string path_;
};

/// Missing keys and null leave a field as it was; unknown keys are passed over, so that older programs read
/// newer reports. Throws UsageError naming the path for a value of the wrong kind.
class JsonReader {
 public:
  static constexpr bool kReads = true;
  JsonReader(const Json& in, std::string path) : in_(in), path_(std::move(path)) {
    if (!in.is_object()) throw UsageError(cat(path_, ": expected an object, found ", in.type_name()));
  }

  void operator()(const char* key, double& value) { (*this)(key, value, std::nan("")); }
  void known(const char* key, double& value) { (*this)(key, value); }
  void operator()(const char* key, double& value, double absent) {
    const auto at = in_.find(key);
    if (at == in_.end()) return;
    if (!at->is_null() && !at->is_number()) refuse(key, *at, "a number");
    value = at->is_null() ? absent : at->get<double>();
  }
  void operator()(const char* key, std::integral auto& value) {
    using Value = std::remove_reference_t<decltype(value)>;
    const Json* found = find(key);
    if (!found) return;
    if constexpr (std::same_as<Value, bool>) {
      if (!found->is_boolean()) refuse(key, *found, "true or false");
      value = found->template get<bool>();
    } else {
      if (!found->is_number_integer()) refuse(key, *found, "a whole number");
      const auto wide = found->template get<std::int64_t>();
      if (!std::in_range<Value>(wide)) refuse(key, *found, "a smaller whole number");
      value = static_cast<Value>(wide);
    }
  }
  void operator()(const char* key, std::string& value) {
    const Json* found = find(key);
    if (!found) return;
    if (!found->is_string()) refuse(key, *found, "a text");
    value = found->get<std::string>();
  }
  void operator()(const char* key, std::vector<std::string>& values) {
    each(key, [&](const Json& item) {
      if (!item.is_string()) refuse(key, item, "texts");
      values.push_back(item.get<std::string>());
    });
  }
  template <class Value>
  void operator()(const char* key, std::optional<Value>& value) {
    if (Value given{}; find(key)) {
      (*this)(key, given);
      value = given;
    }
  }
  void text(const char* key, std::string& value) { (*this)(key, value); }
  void numbers(const char* key, std::vector<double>& values) {
    each(key, [&](const Json& item) {
      if (!item.is_number()) refuse(key, item, "numbers");
      values.push_back(item.get<double>());
    });
  }
  template <class Enum, class Parse>
  void word(const char* key, Enum& value, Parse parse) {
    std::string text;
    (*this)(key, text);
    try {
      if (!text.empty()) value = parse(text);
    } catch (const UsageError& error) {
      throw UsageError(cat(path_, key, ": ", error.what()));
    }
  }
  template <class Fields>
  void object(const char* key, Fields fields, bool = true) {
    const Json* found = find(key);
    if (!found) return;
    JsonReader inner(*found, cat(path_, key, "."));
    fields(inner);
  }
  template <class T, class Fields>
  void list(const char* key, std::vector<T>& items, Fields fields, bool = true) {
    each(key, [&](const Json& item) {
      JsonReader inner(item, cat(path_, key, "[", items.size(), "]."));
      fields(inner, items.emplace_back());
    });
  }

  /// The value of `key`, or null if it is missing or null.
  const Json* find(const char* key) const {
    const auto at = in_.find(key);
    return at == in_.end() || at->is_null() ? nullptr : &*at;
  }
  std::vector<std::string> keys() const {
    std::vector<std::string> keys;
    for (const auto& [key, value] : in_.items()) keys.push_back(key);
    return keys;
  }

 private:
  template <class Take>
  void each(const char* key, Take take) {
    const Json* found = find(key);
    if (!found) return;
    if (!found->is_array()) refuse(key, *found, "a list");
    for (const Json& item : *found) take(item);
  }
  [[noreturn]] void refuse(const char* key, const Json& found, std::string_view expected) const {
    throw UsageError(cat(path_, key, ": expected ", expected, ", found ", found.dump().substr(0, 40)));
  }

  const Json& in_;
  std::string path_;
};

}  // namespace moebench
