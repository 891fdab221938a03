// SPDX-License-Identifier: Apache-2.0
#include "bench/system_files.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/text.h"

namespace moebench {

namespace fs = std::filesystem;

std::string system_text(const fs::path& file) {
  std::ifstream in(file);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  return std::string(trimmed(text.str()));
}

std::vector<std::pair<std::int64_t, fs::path>> numbered(const fs::path& directory, std::string_view prefix) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    if (const auto number = to_int(std::string_view(name).substr(prefix.size())))
      found.emplace_back(*number, entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace moebench
