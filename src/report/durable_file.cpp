// SPDX-License-Identifier: Apache-2.0
#include "report/durable_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

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

/// rename() that fails with EEXIST if `to` is there. 0, or the error.
int rename_to_free(const fs::path& from, const fs::path& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (link(from.c_str(), to.c_str()) == 0) return unlink(from.c_str()) == 0 ? 0 : errno;
  return errno;
}

/// The process that holds the lock on the file with this inode; 0 if the system does not say.
long lock_holder(ino_t inode) {
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    // "1: FLOCK  ADVISORY  WRITE 18950 fe:00:10953089 0 EOF"
    std::istringstream words(line);
    std::string number, kind, mode, access, file;
    long process = 0;
    words >> number >> kind >> mode >> access >> process >> file;
    if (kind == "FLOCK" && process > 0 && file.ends_with(cat(":", inode))) return process;
  }
  return 0;
}

/// Whether `file` is still what bears the name `path`.
bool bears_name(int file, const fs::path& path) {
  struct stat open_file {
  }, named{};
  return fstat(file, &open_file) == 0 && stat(path.c_str(), &named) == 0 &&
         open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
}

/// Writes `text` to a file of another name, which `rename` then gives its own.
template <class Rename>
void write_whole(const fs::path& path, std::string_view text, Rename rename) {
  // With the process id: another run may write a file of the same name.
  const fs::path temporary = cat(path.string(), ".", getpid(), ".tmp");
  try {
    AppendFile file(temporary);
    file.append(text);
    rename(file);
  } catch (const EnvironmentError&) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

}  // namespace

FileLock::FileLock(const fs::path& path) {
  for (;;) {
    file_ = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    made_ = file_ >= 0;
    if (!made_ && errno == EEXIST) {
      file_ = open(path.c_str(), O_RDWR | O_CLOEXEC);
      if (file_ < 0 && errno == ENOENT) continue;  // it has just been removed
    }
    if (file_ < 0) fail("write", path, errno);
    if (flock(file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      struct stat locked {};
      const long holder = fstat(file_, &locked) == 0 ? lock_holder(locked.st_ino) : 0;
      close(file_);
      throw FileLocked(cat("another run writes ", path.string()), holder);
    }
    if (bears_name(file_, path)) return;
    close(file_);  // the other run has replaced or removed it between the two calls
  }
}

FileLock::~FileLock() { close(file_); }

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

void AppendFile::rename_to_new(const fs::path& path) {
  const int error = rename_to_free(path_, path);
  if (error == EEXIST)
    throw EnvironmentError(
        cat("cannot write ", path.string(), ": a file of that name has appeared meanwhile, and is kept"));
  if (error != 0) fail("write", path, error);
  path_ = path;
  sync_directory(path_);
}

void AppendFile::lock() { flock(file_, LOCK_EX | LOCK_NB); }

void replace_file(const fs::path& path, std::string_view text) {
  write_whole(path, text, [&](AppendFile& file) { file.rename_to(path); });
}

void create_file(const fs::path& path, std::string_view text) {
  write_whole(path, text, [&](AppendFile& file) { file.rename_to_new(path); });
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
