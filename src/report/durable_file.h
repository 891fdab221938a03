// SPDX-License-Identifier: Apache-2.0
// Files that survive a crash, a full disk and a power cut with all that was written before.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"

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
  /// The same, but throws EnvironmentError if something bears that name, also if it has only just appeared.
  void rename_to_new(const std::filesystem::path& path);
  /// Keeps every FileLock away for as long as this object lives.
  void lock();

 private:
  std::filesystem::path path_;
  int file_ = -1;
  long good_bytes_ = 0;
};

/// The right to write a file, among processes that ask for it. It ends with this object or with the process.
class FileLock {
 public:
  /// Makes an empty file if there is none. Throws EnvironmentError, and FileLocked if another process has the lock.
  /// Where the file system knows no locks, everyone gets it.
  explicit FileLock(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  /// Whether the file was made for the lock.
  bool made() const { return made_; }

 private:
  int file_ = -1;
  bool made_ = false;
};

/// Another process has the lock.
class FileLocked : public EnvironmentError {
 public:
  /// `holder`: its process id, 0 if the system does not say.
  FileLocked(const std::string& what, long holder) : EnvironmentError(what), holder_(holder) {}
  long holder() const { return holder_; }

 private:
  long holder_;
};

/// Puts `text` in place of the file at once: readers see the old or the new, never a part. Throws
/// EnvironmentError.
void replace_file(const std::filesystem::path& path, std::string_view text);

/// The same for a file that is not there yet: throws EnvironmentError, and leaves what is there, if one has appeared.
void create_file(const std::filesystem::path& path, std::string_view text);

/// Throws EnvironmentError unless a regular file could be written at `path`: the directory is there and lets
/// us, and what bears the name, if anything, is a regular file.
void require_writable(const std::filesystem::path& path);

}  // namespace moebench
