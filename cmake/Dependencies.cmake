# Finds what moebench builds with, and says aloud what is missing and what that costs.

find_package(Threads REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(cxxopts 3.0 REQUIRED)

# Static if there: the program then runs on machines without OpenBLAS.
find_library(OPENBLAS_LIBRARY NAMES libopenblas.a openblas
             PATH_SUFFIXES openblas-pthread x86_64-linux-gnu/openblas-pthread aarch64-linux-gnu/openblas-pthread REQUIRED)
find_path(OPENBLAS_INCLUDE_DIR cblas.h
          PATH_SUFFIXES x86_64-linux-gnu/openblas-pthread aarch64-linux-gnu/openblas-pthread openblas REQUIRED)
add_library(openblas INTERFACE)
target_include_directories(openblas SYSTEM INTERFACE ${OPENBLAS_INCLUDE_DIR})
target_link_libraries(openblas INTERFACE ${OPENBLAS_LIBRARY} Threads::Threads m)

set(MOEBENCH_HAVE_MPI OFF)
if(MOEBENCH_MPI)
  enable_language(C)  # FindMPI looks for the C interface with a C compiler
  find_package(MPI COMPONENTS C)
  if(MPI_C_FOUND)
    set(MOEBENCH_HAVE_MPI ON)
  else()
    message(WARNING "MPI not found: moebench will run on one rank only (apt-get install libopenmpi-dev openmpi-bin)")
  endif()
endif()
message(STATUS "moebench: MPI ${MOEBENCH_HAVE_MPI}")

# CUDA is optional, and left out under sanitizers, which the driver does not run under.
option(MOEBENCH_CUDA "Use the CUDA toolkit if it is found" ON)
set(MOEBENCH_HAVE_CUDA OFF)
if(MOEBENCH_CUDA AND NOT MOEBENCH_SANITIZE)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)  # Ampere and Ada, Hopper, and through PTX whatever is newer
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know it for newer compilers
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit 12.5 QUIET)  # the first with cudaGetDriverEntryPointByVersion
  endif()
  if(CUDAToolkit_FOUND)
    set(MOEBENCH_HAVE_CUDA ON)
    # The runtime is linked statically and cuBLAS opened when used: the program also starts without a driver.
    add_library(cuda_runtime INTERFACE)
    target_include_directories(cuda_runtime SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
    target_link_libraries(cuda_runtime INTERFACE CUDA::cudart_static ${CMAKE_DL_LIBS})
  else()
    message(WARNING "CUDA toolkit 12.5 or later not found: moebench will run on the CPU only (set CUDACXX to its nvcc)")
  endif()
endif()
message(STATUS "moebench: CUDA ${MOEBENCH_HAVE_CUDA}")

# Headers only, and of use without CUDA: any profiler may listen.
set(MOEBENCH_HAVE_NVTX OFF)
find_path(NVTX_INCLUDE_DIR nvtx3/nvToolsExtPayload.h HINTS ${CUDAToolkit_INCLUDE_DIRS} /usr/local/cuda/include)
add_library(nvtx INTERFACE)
if(NVTX_INCLUDE_DIR)
  set(MOEBENCH_HAVE_NVTX ON)
  target_include_directories(nvtx SYSTEM INTERFACE ${NVTX_INCLUDE_DIR})
  target_link_libraries(nvtx INTERFACE ${CMAKE_DL_LIBS})
else()
  message(WARNING "NVTX headers not found: profilers will see kernels without the names of stages (they come with the CUDA toolkit)")
endif()
target_compile_definitions(nvtx INTERFACE MOEBENCH_HAVE_NVTX=$<BOOL:${MOEBENCH_HAVE_NVTX}>)
message(STATUS "moebench: NVTX ${MOEBENCH_HAVE_NVTX}")

# NCCL moves GPU memory: nothing without CUDA. Its library is opened when used, so its header is enough.
option(MOEBENCH_NCCL "Use NCCL if its header is found" ON)
set(MOEBENCH_HAVE_NCCL OFF)
if(MOEBENCH_NCCL AND MOEBENCH_HAVE_CUDA)
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ENV NCCL_HOME ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
  if(NCCL_INCLUDE_DIR)
    set(MOEBENCH_HAVE_NCCL ON)
  else()
    message(WARNING "nccl.h not found: GPUs will exchange over MPI only (apt-get install libnccl-dev, or set NCCL_HOME)")
  endif()
endif()
message(STATUS "moebench: NCCL ${MOEBENCH_HAVE_NCCL}")

if(MOEBENCH_TESTS)
  find_package(GTest QUIET)
  if(NOT GTest_FOUND)
    message(WARNING "GoogleTest not found: the tests are not built (apt-get install libgtest-dev)")
  endif()
endif()
if(MOEBENCH_KERNEL_BENCHMARKS)
  find_package(benchmark QUIET)
  if(NOT benchmark_FOUND)
    message(WARNING "Google Benchmark not found: moebench_kernels is not built (apt-get install libbenchmark-dev)")
  endif()
endif()
