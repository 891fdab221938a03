# Tests under mpirun, on this machine's cores and as any user, labelled "mpi".

set(MOEBENCH_MPI_TEST_ENVIRONMENT
    # Ranks outnumber cores, and tests run side by side: no binding, or all would share the first core.
    OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
    PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
    # Open MPI keeps memory until exit, and synchronises in ways that ThreadSanitizer does not see. Its libraries
    # have no frame pointers: only the slow unwinder finds whose an allocation was.
    # intercept_tls_get_addr: up to GCC 13 the runtime takes some blocks of thread-local storage for those of an old
    # glibc, reads a length before them that is not there, and the leak check ends with signal 11
    # (github.com/google/sanitizers/issues/1322).
    ASAN_OPTIONS=fast_unwind_on_malloc=0:intercept_tls_get_addr=0
    LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/mpi/lsan.supp:print_suppressions=0
    TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/mpi/tsan.supp)

# moebench_mpi_command(<test> NP <ranks> [BEFORE …] COMMAND …): any command on <ranks> ranks; BEFORE goes ahead of
# mpirun.
function(moebench_mpi_command name)
  cmake_parse_arguments(ARG "" "NP" "BEFORE;COMMAND" ${ARGN})
  add_test(NAME ${name} COMMAND ${ARG_BEFORE} ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ARG_NP} ${ARG_COMMAND})
  set_tests_properties(${name} PROPERTIES LABELS mpi PROCESSORS ${ARG_NP} TIMEOUT 300
                                          ENVIRONMENT "${MOEBENCH_MPI_TEST_ENVIRONMENT}")
endfunction()

# moebench_mpi_test(<name> NP 1 2 4 SOURCES … USES …): one GoogleTest program, one test for each number of ranks.
# With the thread sanitizer 2 ranks alone: it looks into one process, and more ranks have the same threads.
# Its cases reach the other ranks through world_under_test() of mpi/world_under_test.h. Nothing without MPI.
function(moebench_mpi_test name)
  if(NOT MOEBENCH_HAVE_MPI)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "NP;SOURCES;USES" ${ARGN})
  moebench_ranks_program(test_${name} mpi_world.cpp SOURCES ${ARG_SOURCES} USES ${ARG_USES})
  if(MOEBENCH_SANITIZE STREQUAL "thread" AND 2 IN_LIST ARG_NP)
    set(ARG_NP 2)
  endif()
  foreach(np ${ARG_NP})
    moebench_mpi_command(${name}.np${np} NP ${np} COMMAND $<TARGET_FILE:test_${name}>)
  endforeach()
endfunction()

# moebench_nccl_test(<name> NP 1 2 4 SOURCES … USES …): the same over the fake NCCL of tests/fakes, on ranks joined by
# sockets, and, for the largest number, also by MPI. Nothing without NCCL's header.
function(moebench_nccl_test name)
  if(NOT MOEBENCH_HAVE_NCCL)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "NP;SOURCES;USES" ${ARGN})
  moebench_ranks_program(test_${name} nccl_world.cpp SOURCES ${ARG_SOURCES} USES ${ARG_USES} fake_nccl)
  foreach(np ${ARG_NP})
    add_test(NAME ${name}.ranks${np} COMMAND test_${name} --ranks ${np})
    set_tests_properties(${name}.ranks${np} PROPERTIES PROCESSORS ${np} TIMEOUT 300)
  endforeach()
  if(MOEBENCH_HAVE_MPI)
    list(GET ARG_NP -1 np)
    moebench_mpi_command(${name}.np${np} NP ${np} COMMAND $<TARGET_FILE:test_${name}>)
  endif()
endfunction()

# moebench_objects(<result> <source>…): the objects of sources that several programs of ranks share, each compiled once.
function(moebench_objects result)
  set(objects "")
  foreach(source ${ARGN})
    get_filename_component(path ${source} ABSOLUTE)
    file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR} ${path})
    string(MAKE_C_IDENTIFIER "objects_${name}" target)
    if(NOT TARGET ${target})
      add_library(${target} OBJECT ${path})
      target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
      target_link_libraries(${target} PRIVATE mb_comm GTest::gtest)
    endif()
    list(APPEND objects $<TARGET_OBJECTS:${target}>)
  endforeach()
  set(${result} ${objects} PARENT_SCOPE)
endfunction()

function(moebench_ranks_program program world)
  cmake_parse_arguments(ARG "" "" "SOURCES;USES" ${ARGN})
  moebench_objects(objects ${ARG_SOURCES} ${CMAKE_SOURCE_DIR}/tests/mpi/main.cpp ${CMAKE_SOURCE_DIR}/tests/mpi/${world})
  add_executable(${program} ${objects})
  target_link_libraries(${program} PRIVATE ${ARG_USES} mb_comm GTest::gtest)
endfunction()
