// SPDX-License-Identifier: Apache-2.0
// The errors moebench tells apart, and the exit code each one ends in.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace moebench {

/// What the program's exit status means. Documented in docs/report.md and `moebench help`.
enum class ExitCode : int {
  ok = 0,
  internal = 1,
  usage = 2,
  environment = 3,
  incorrect = 4,
  regression = 5,
  partial = 6,
  communicator = 8,
  timeout = 124,
  interrupted = 130,
};

/// An error with the exit code it ends in unless it is caught.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& what) : std::runtime_error(what), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

/// The user asked for something impossible: one line, what was given and what is valid.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& what) : Error(ExitCode::usage, what) {}
};

/// This machine or build cannot do what was asked (no GPU, unwritable file, launcher mismatch).
class EnvironmentError : public Error {
 public:
  explicit EnvironmentError(const std::string& what) : Error(ExitCode::environment, what) {}
};

/// A device or library call failed. Recorded per case; ends the sweep if `sticky` (the device context is lost).
class DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& what, bool sticky = false)
      : Error(ExitCode::environment, what), sticky_(sticky) {}
  bool sticky() const { return sticky_; }

 private:
  bool sticky_;
};

/// An allocation of `bytes` could not be made.
class MemoryError : public Error {
 public:
  MemoryError(std::size_t bytes, const std::string& what)
      : Error(ExitCode::environment, what), bytes_(bytes) {}
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
};

/// Ranks could not talk to each other.
class CommError : public Error {
 public:
  explicit CommError(const std::string& what) : Error(ExitCode::communicator, what) {}
  CommError(ExitCode code, const std::string& what) : Error(code, what) {}
};

/// A wait between ranks passed its limit. Names the waiting rank and the peers it waited for.
class TimeoutError : public CommError {
 public:
  explicit TimeoutError(const std::string& what) : CommError(ExitCode::timeout, what) {}
};

/// SIGINT, SIGTERM or SIGHUP arrived.
class Interrupted : public Error {
 public:
  explicit Interrupted(const std::string& what) : Error(ExitCode::interrupted, what) {}
};

/// Prints `condition` with its place and aborts: a defect of moebench, never of its input.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace moebench

#define MB_ASSERT(condition) \
  ((condition) ? void(0) : ::moebench::assertion_failed(#condition, __FILE__, __LINE__))
