// SPDX-License-Identifier: Apache-2.0
// Files that survive a crash, a full disk and a power cut with all that was written before.
#pragma once

#include <filesystem>
#include <string_view>

namespace moebench {

/// Grows by whole pieces: a piece that cannot be written leaves no trace, and one that was is on the disk.
class AppendFile {
 public:
  /// Creates `path` or empties it. Throws EnvironmentError.
  explicit AppendFile(std::filesystem::path path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Throws EnvironmentError with the system's reason; the file is then as it was before.
  void append(std::string_view piece);
  /// Gives it another name, replacing what bears that one. Throws EnvironmentError.
  void rename_to(const std::filesystem::path& path);

 private:
  std::filesystem::path path_;
  int file_ = -1;
  long good_bytes_ = 0;
};

/// Puts `text` in place of the file at once: readers see the old or the new, never a part. Throws
/// EnvironmentError.
void replace_file(const std::filesystem::path& path, std::string_view text);

/// Throws EnvironmentError unless a regular file could be written at `path`: the directory is there and lets
/// us, and what bears the name, if anything, is a regular file.
void require_writable(const std::filesystem::path& path);

}  // namespace moebench
