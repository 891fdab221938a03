// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi/device_pointers.h"

#include <mpi.h>
#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>  // Open MPI and those after it: MPIX_CUDA_AWARE_SUPPORT says that the question can be asked
#endif

namespace moebench {

bool takes_device_pointers() {
#ifdef MPIX_CUDA_AWARE_SUPPORT
  static const bool yes = MPIX_Query_cuda_support() == 1;
  return yes;
#else
  return false;
#endif
}

}  // namespace moebench
