// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/library.h"

#include <string_view>

#include "base/error.h"
#include "base/shared_library.h"
#include "base/text.h"

namespace moebench {
namespace {

/// From the loader's choice, the toolkit this was built with, or the usual place.
NcclLibrary load() {
  NcclLibrary api{};
  const std::string file = "libnccl.so.2";
  const SharedLibrary library(
      "NCCL", {file, cat(MOEBENCH_NCCL_LIBRARY_DIR, "/", file), cat("/usr/local/cuda/lib64/", file)});
  api.missing = library.missing();
  if (!api.missing.empty()) return api;
#define MB_FIND(name)                           \
  if (!library.find(api.name, #name))           \
  api.missing = "NCCL has no " #name            \
                ": this program needs 2.18 or " \
                "later"
  MB_FIND(ncclGetVersion);
  MB_FIND(ncclGetErrorString);
  MB_FIND(ncclGetLastError);
  MB_FIND(ncclGetUniqueId);
  MB_FIND(ncclCommInitRank);
  MB_FIND(ncclCommSplit);
  MB_FIND(ncclCommGetAsyncError);
  MB_FIND(ncclCommAbort);
  MB_FIND(ncclCommDestroy);
  MB_FIND(ncclGroupStart);
  MB_FIND(ncclGroupEnd);
  MB_FIND(ncclSend);
  MB_FIND(ncclRecv);
  MB_FIND(ncclAllReduce);
#undef MB_FIND
  int code = 0;  // 22803 for 2.28.3, since 2.9
  if (api.missing.empty() && api.ncclGetVersion(&code) == ncclSuccess)
    api.version = cat(code / 10000, ".", code / 100 % 100, ".", code % 100);
  return api;
}

}  // namespace

const NcclLibrary& nccl() {
  static const NcclLibrary library = load();
  return library;
}

void check_nccl(ncclResult_t result, const char* call) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const std::string_view name(call);
  const char* detail = nccl().ncclGetLastError(nullptr);
  throw CommError(cat(name.substr(0, name.find('(')), " failed: ", nccl().ncclGetErrorString(result),
                      detail && *detail ? cat(", ", trimmed(detail)) : std::string()));
}

}  // namespace moebench
