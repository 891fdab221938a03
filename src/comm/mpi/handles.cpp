// SPDX-License-Identifier: Apache-2.0
// Checks and owners of MPI handles.
#include "comm/mpi/handles.h"

#include <exception>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "comm/mpi/watchdog.h"

namespace moebench {
namespace {

/// Handles are left to the end of the process once an error is on its way up (freeing may wait for peers) and
/// after MPI has ended.
bool may_free() {
  int ended = 0;
  return std::uncaught_exceptions() == 0 && MPI_Finalized(&ended) == MPI_SUCCESS && !ended;
}

}  // namespace

void check_mpi(int result, const char* call) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(result, text, &length);
  const std::string_view name(call);
  throw CommError(cat(name.substr(0, name.find('(')), " failed: ", text));
}

Session::Session(double timeout_s) : timeout_s_(timeout_s) {
  int begun = 0, provided = 0;
  MB_MPI(MPI_Initialized(&begun));
  if (begun) throw EnvironmentError("MPI can be started only once in a process");
  MB_MPI(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided));
  // Communicators made from this one inherit the handler.
  MB_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  if (provided < MPI_THREAD_FUNNELED)
    throw EnvironmentError("this MPI allows no threads beside its own: build it with thread support");
}

Session::~Session() {
  if (!may_free()) return;
  const MpiWatchdog watchdog(timeout_s_, "MPI_Finalize");
  MPI_Finalize();
}

Communicator::~Communicator() {
  if (handle_ != MPI_COMM_NULL && may_free()) MPI_Comm_free(&handle_);
}

Datatype::Datatype(MPI_Datatype handle) : handle_(handle) { MB_MPI(MPI_Type_commit(&handle_)); }

Datatype::~Datatype() {
  if (handle_ != MPI_DATATYPE_NULL && may_free()) MPI_Type_free(&handle_);
}

}  // namespace moebench
