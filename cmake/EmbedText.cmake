# embed_text(<function> <file>…) writes <function>.cpp into the current binary directory: it defines
# std::span<const moebench::EmbeddedText> moebench::<function>(), one entry per file (suite/embedded.h).
# Configuring runs again when a file changes.

function(embed_text function)
  set(entries "")
  foreach(file ${ARGN})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    get_filename_component(name ${file} NAME_WE)
    file(READ ${file} text)
    string(APPEND entries "    {\"${name}\", R\"embedded(${text})embedded\"},\n")
  endforeach()
  set(source "// Written by cmake/EmbedText.cmake.
#include \"suite/embedded.h\"

namespace moebench {
std::span<const EmbeddedText> ${function}() {
  static constexpr EmbeddedText kTexts[] = {
${entries}  };
  return kTexts;
}
}  // namespace moebench
")
  # Only if it changed, so that configuring again does not compile again.
  set(path ${CMAKE_CURRENT_BINARY_DIR}/${function}.cpp)
  set(old "")
  if(EXISTS ${path})
    file(READ ${path} old)
  endif()
  if(NOT old STREQUAL source)
    file(WRITE ${path} "${source}")
  endif()
endfunction()
