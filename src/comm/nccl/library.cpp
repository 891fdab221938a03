// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/library.h"

#include <dlfcn.h>

#include <string_view>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

void* open_library(std::string& missing) {
  const std::string file = "libnccl.so.2";
  for (const std::string& path :
       {file, cat(MOEBENCH_NCCL_LIBRARY_DIR, "/", file), cat("/usr/local/cuda/lib64/", file)}) {
    if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    if (missing.empty()) missing = cat("NCCL cannot be opened: ", dlerror());
  }
  return nullptr;
}

NcclLibrary load() {
  NcclLibrary api{};
  std::string missing;
  void* library = open_library(missing);
  if (!library) {
    api.missing = missing;
    return api;
  }
  const auto find = [&]<class Function>(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (!function) api.missing = cat("NCCL has no ", name, ": this program needs 2.18 or later");
  };
#define MB_FIND(name) find(api.name, #name)
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
