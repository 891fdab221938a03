// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cublas_library.h"

#include <dlfcn.h>

#include "base/text.h"

namespace moebench::cuda {
namespace {

/// The first that opens: the loader's choice, the toolkit this was built with, the usual place.
void* open_library(std::string& missing) {
  const std::string file = cat("libcublas.so.", CUBLAS_VER_MAJOR);
  for (const std::string& path :
       {file, cat(MOEBENCH_CUDA_LIBRARY_DIR, "/", file), cat("/usr/local/cuda/lib64/", file)}) {
    if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    if (missing.empty()) missing = cat("cuBLAS cannot be opened: ", dlerror());
  }
  return nullptr;
}

CublasLibrary load() {
  CublasLibrary api{};
  std::string missing;
  void* library = open_library(missing);
  if (!library) {
    api.missing = missing;
    return api;
  }
  const auto find = [&]<class Function>(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (!function) api.missing = cat("cuBLAS has no ", name, ": it is older than this program needs");
  };
#define MB_FIND(name) find(api.name, #name)
  MB_FIND(cublasCreate_v2);
  MB_FIND(cublasDestroy_v2);
  MB_FIND(cublasGetVersion_v2);
  MB_FIND(cublasSetStream_v2);
  MB_FIND(cublasSetWorkspace_v2);
  MB_FIND(cublasSetMathMode);
  MB_FIND(cublasGetStatusString);
  MB_FIND(cublasGemmEx);
  MB_FIND(cublasGemmGroupedBatchedEx);
#undef MB_FIND
  return api;
}

}  // namespace

const CublasLibrary& cublas() {
  static const CublasLibrary library = load();
  return library;
}

}  // namespace moebench::cuda
