// SPDX-License-Identifier: Apache-2.0
#include "trace/output_file.h"

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/text.h"

namespace moebench {

OutputFile::OutputFile(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "wxb")) {
  if (!file_ && errno == EEXIST) throw UsageError(cat(path, " already exists"));
  if (!file_) fail();
}

OutputFile::~OutputFile() {
  if (!file_) return;
  std::fclose(file_);
  std::remove(path_.c_str());
}

void OutputFile::write(const void* data, std::size_t bytes) {
  if (bytes > 0 && std::fwrite(data, 1, bytes, file_) != bytes) fail();
}

void OutputFile::finish() {
  std::FILE* const file = file_;
  if (std::fflush(file) != 0) fail();
  file_ = nullptr;
  if (std::fclose(file) != 0) fail();
}

void OutputFile::fail() const { throw EnvironmentError(cat(path_, ": ", std::strerror(errno))); }

}  // namespace moebench
