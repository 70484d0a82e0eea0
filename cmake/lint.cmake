# SPDX-License-Identifier: Apache-2.0
# Targets lint_format and lint_tidy; `./dev test lint` builds them. `./dev build dev format` formats all files. Part of the build and not of ctest, so
# that the build tool runs them side by side and only for what changed.

file(GLOB_RECURSE lint_files CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/include/*.h ${PROJECT_SOURCE_DIR}/src/*.h ${PROJECT_SOURCE_DIR}/src/*.cc
  ${PROJECT_SOURCE_DIR}/tests/*.h ${PROJECT_SOURCE_DIR}/tests/*.cc
  ${PROJECT_SOURCE_DIR}/examples/*.cc
  ${PROJECT_SOURCE_DIR}/fuzz/*.h ${PROJECT_SOURCE_DIR}/fuzz/*.cc)
set(lint_headers ${lint_files})
list(FILTER lint_headers INCLUDE REGEX "\\.h$")

# A missing tool is a failure and not a skip: a check that did not run must not look like one that passed.
function(asynclm_lint_tool variable name)
  find_program(${variable} ${name})
  if(NOT ${variable})
    set(${variable} ${CMAKE_COMMAND} -E echo "${name} is not installed, lint needs it:" PARENT_SCOPE)
    set(${variable}_MISSING COMMAND ${CMAKE_COMMAND} -E false PARENT_SCOPE)
  endif()
endfunction()
asynclm_lint_tool(CLANG_FORMAT clang-format)
asynclm_lint_tool(CLANG_TIDY clang-tidy)

add_custom_target(lint_format VERBATIM
  COMMAND ${CLANG_FORMAT} --dry-run -Werror ${lint_files} ${CLANG_FORMAT_MISSING})

add_custom_target(format VERBATIM COMMAND ${CLANG_FORMAT} -i ${lint_files} ${CLANG_FORMAT_MISSING})

set(tidy_stamps)
foreach(source IN LISTS library_sources cli_sources)
  file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR} ${source})
  set(stamp ${PROJECT_BINARY_DIR}/tidy/${name}.ok)
  cmake_path(GET stamp PARENT_PATH folder)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(OUTPUT ${stamp} VERBATIM
    COMMENT "clang-tidy ${name}"
    COMMAND ${CLANG_TIDY} --quiet --warnings-as-errors=* -p ${PROJECT_BINARY_DIR} ${source} ${CLANG_TIDY_MISSING}
    COMMAND ${CMAKE_COMMAND} -E touch ${stamp}
    DEPENDS ${source} ${lint_headers} ${PROJECT_SOURCE_DIR}/.clang-tidy)
  list(APPEND tidy_stamps ${stamp})
endforeach()
add_custom_target(lint_tidy DEPENDS ${tidy_stamps})
