// SPDX-License-Identifier: Apache-2.0
// The NCCL functions in use, opened at run time: the program also starts where NCCL is not installed.
#pragma once

#include <nccl.h>

#include <string>

namespace moebench {

/// Named as in the library, so that a call reads like one.
struct NcclLibrary {
  std::string missing;  ///< why it cannot be used, or empty
  std::string version;  ///< "2.28.3"

  decltype(&::ncclGetVersion) ncclGetVersion;
  decltype(&::ncclGetErrorString) ncclGetErrorString;
  decltype(&::ncclGetLastError) ncclGetLastError;
  decltype(&::ncclGetUniqueId) ncclGetUniqueId;
  decltype(&::ncclCommInitRank) ncclCommInitRank;
  decltype(&::ncclCommSplit) ncclCommSplit;
  decltype(&::ncclCommGetAsyncError) ncclCommGetAsyncError;
  decltype(&::ncclCommAbort) ncclCommAbort;
  decltype(&::ncclCommDestroy) ncclCommDestroy;
  decltype(&::ncclGroupStart) ncclGroupStart;
  decltype(&::ncclGroupEnd) ncclGroupEnd;
  decltype(&::ncclSend) ncclSend;
  decltype(&::ncclRecv) ncclRecv;
  decltype(&::ncclAllReduce) ncclAllReduce;
};

/// Opened at the first call: what the loader finds (LD_LIBRARY_PATH first), else that of the CUDA toolkit.
const NcclLibrary& nccl();

/// Throws CommError with the call's name and NCCL's own text if `result` is neither success nor in progress.
void check_nccl(ncclResult_t result, const char* call);

}  // namespace moebench

#define MB_NCCL(call) ::moebench::check_nccl(::moebench::nccl().call, #call)
