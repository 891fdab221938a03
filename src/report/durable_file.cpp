// SPDX-License-Identifier: Apache-2.0
#include "report/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(std::string_view action, const fs::path& path, int error) {
  throw EnvironmentError(cat("cannot ", action, " ", path.string(), ": ", std::strerror(error)));
}

fs::path directory_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// A new name is on the disk only when its directory is.
void sync_directory(const fs::path& path) {
  const int directory = open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  fsync(directory);
  close(directory);
}

}  // namespace

AppendFile::AppendFile(fs::path path) : path_(std::move(path)) {
  file_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail("write", path_, errno);
}

AppendFile::~AppendFile() { close(file_); }

void AppendFile::append(std::string_view piece) {
  const auto give_up = [&](int error) {
    if (ftruncate(file_, good_bytes_) == 0) lseek(file_, good_bytes_, SEEK_SET);
    fail("write", path_, error);
  };
  for (std::string_view rest = piece; !rest.empty();) {
    const ssize_t written = write(file_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) give_up(errno);
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  // EINVAL: a pipe or the like, which has nothing to bring to a disk.
  if (fsync(file_) != 0 && errno != EINVAL && errno != EROFS) give_up(errno);
  good_bytes_ += static_cast<long>(piece.size());
}

void AppendFile::rename_to(const fs::path& path) {
  if (std::rename(path_.c_str(), path.c_str()) != 0) fail("write", path, errno);
  path_ = path;
  sync_directory(path_);
}

void replace_file(const fs::path& path, std::string_view text) {
  const fs::path temporary = path.string() + ".tmp";
  try {
    AppendFile file(temporary);
    file.append(text);
    file.rename_to(path);
  } catch (const EnvironmentError&) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

void require_writable(const fs::path& path) {
  std::error_code error;
  const fs::path directory = directory_of(path);
  if (path.filename().empty())
    throw EnvironmentError(cat("cannot write '", path.string(), "': it names no file"));
  if (!fs::is_directory(directory, error))
    throw EnvironmentError(
        cat("cannot write ", path.string(), ": there is no directory ", directory.string()));
  if (fs::exists(path, error) && !fs::is_regular_file(path, error))
    throw EnvironmentError(cat("cannot write ", path.string(), ": it is not a regular file"));
  if (access(directory.c_str(), W_OK | X_OK) != 0) fail("write", path, errno);
}

}  // namespace moebench
