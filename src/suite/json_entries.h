// SPDX-License-Identifier: Apache-2.0
// Reads a shallow JSON object with the line of every key, which nlohmann's document model does not keep.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moebench {

/// One key of the outermost object (`section` empty), of an object in it (`section` its key), or of an object in an
/// array in it (`section` the array's key, `item` which).
/// Numbers as written; true and false as "on" and "off".
struct JsonEntry {
  std::string section;
  std::string key;
  int item = -1;
  int line = 0;
  std::vector<std::string> values;  ///< one, or those of an array
  bool is_array = false;
  bool is_object =
      false;  ///< it, or with is_array an item of it, is an object: its keys follow as entries of their own
  bool is_string = false;   ///< every value is a string
  bool is_boolean = false;  ///< a value is true or false
};

/// In the order of the text. Throws UsageError with `origin` and the line for malformed JSON, a key given
/// twice, null, an array of arrays, or anything nested deeper.
std::vector<JsonEntry> json_entries(std::string_view text, const std::string& origin);

}  // namespace moebench
