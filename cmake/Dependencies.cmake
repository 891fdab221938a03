# Finds what moebench builds with, and says aloud what is missing and what that costs.

find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(cxxopts 3.1 REQUIRED)

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

if(MOEBENCH_TESTS)
  find_package(GTest REQUIRED)
endif()
if(MOEBENCH_KERNEL_BENCHMARKS)
  find_package(benchmark QUIET)
  if(NOT benchmark_FOUND)
    message(WARNING "Google Benchmark not found: moebench_kernels is not built (apt-get install libbenchmark-dev)")
  endif()
endif()
