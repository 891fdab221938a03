# Writes the header that says which commit was built. Run at every build, by `cmake -P`, so that the commit never
# goes stale; rewrites the header only when it changes, so that nothing is rebuilt for nothing.
#   SOURCE_DIR, OUTPUT, VERSION, BUILD_TYPE, COMPILER, FLAGS, FEATURES (comma-separated)

execute_process(COMMAND git -C ${SOURCE_DIR} rev-parse HEAD
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
set(dirty false)
if(failed)
  set(commit "")
else()
  execute_process(COMMAND git -C ${SOURCE_DIR} status --porcelain --untracked-files=no
                  OUTPUT_VARIABLE changes OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(changes)
    set(dirty true)
  endif()
endif()

string(STRIP "${FLAGS}" FLAGS)
string(REGEX REPLACE " +" " " FLAGS "${FLAGS}")
set(header "// Written by cmake/BuildFacts.cmake at every build.
#pragma once
#define MOEBENCH_VERSION R\"(${VERSION})\"
#define MOEBENCH_COMMIT R\"(${commit})\"
#define MOEBENCH_DIRTY ${dirty}
#define MOEBENCH_BUILD_TYPE R\"(${BUILD_TYPE})\"
#define MOEBENCH_COMPILER R\"(${COMPILER})\"
#define MOEBENCH_FLAGS R\"(${FLAGS})\"
#define MOEBENCH_FEATURES R\"(${FEATURES})\"
")
set(previous "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} previous)
endif()
if(NOT previous STREQUAL header)
  file(WRITE ${OUTPUT} "${header}")
endif()
