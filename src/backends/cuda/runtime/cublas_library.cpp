// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/cublas_library.h"

#include "base/shared_library.h"
#include "base/text.h"

namespace moebench::cuda {
namespace {

/// From the loader's choice, the toolkit this was built with, or the usual place.
CublasLibrary load() {
  CublasLibrary api{};
  const std::string file = cat("libcublas.so.", CUBLAS_VER_MAJOR);
  const SharedLibrary library(
      "cuBLAS", {file, cat(MOEBENCH_CUDA_LIBRARY_DIR, "/", file), cat("/usr/local/cuda/lib64/", file)});
  api.missing = library.missing();
  if (!api.missing.empty()) return api;
#define MB_FIND(name)                 \
  if (!library.find(api.name, #name)) \
  api.missing = "cuBLAS has no " #name ": it is older than this program needs"
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
