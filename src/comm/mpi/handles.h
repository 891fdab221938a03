// SPDX-License-Identifier: Apache-2.0
// Every MPI call checked, every MPI handle with one owner.
#pragma once

#include <mpi.h>

#include <memory>
#include <utility>

namespace moebench {

/// Throws CommError with the call's name and MPI's own text unless `result` is MPI_SUCCESS.
void check_mpi(int result, const char* call);

/// MPI from its initialisation to its end. The last owner finalises, unless an error is on its way up: peers
/// may then be stuck, and MPI_Finalize would wait for them without a limit.
class Session {
 public:
  /// `timeout_s`: longest wait for the other ranks at the end.
  explicit Session(double timeout_s);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

 private:
  double timeout_s_;
};

/// Move-only owner of a communicator that is not predefined.
class Communicator {
 public:
  Communicator() = default;
  explicit Communicator(MPI_Comm handle) : handle_(handle) {}
  Communicator(Communicator&& other) noexcept : handle_(std::exchange(other.handle_, MPI_COMM_NULL)) {}
  Communicator& operator=(Communicator&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Communicator();
  MPI_Comm get() const { return handle_; }
  explicit operator bool() const { return handle_ != MPI_COMM_NULL; }

 private:
  MPI_Comm handle_ = MPI_COMM_NULL;
};

/// Move-only owner of a committed datatype.
class Datatype {
 public:
  Datatype() = default;
  /// Commits it.
  explicit Datatype(MPI_Datatype handle);
  Datatype(Datatype&& other) noexcept : handle_(std::exchange(other.handle_, MPI_DATATYPE_NULL)) {}
  Datatype& operator=(Datatype&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Datatype();
  MPI_Datatype get() const { return handle_; }

 private:
  MPI_Datatype handle_ = MPI_DATATYPE_NULL;
};

}  // namespace moebench

#define MB_MPI(call) ::moebench::check_mpi((call), #call)
