# SPDX-License-Identifier: Apache-2.0
# Targets lint_format and lint_tidy; `./dev test lint` builds them. `./dev build dev format` formats all
# files. Part of the build and not of ctest, so that the build tool runs them side by side and only for
# what changed. lint_tidy is there in unity builds only (`./dev build asan lint_tidy`): a whole layer at
# once takes a third of the time.

file(GLOB_RECURSE lint_files CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/include/*.h ${PROJECT_SOURCE_DIR}/src/*.h ${PROJECT_SOURCE_DIR}/src/*.cc
  ${PROJECT_SOURCE_DIR}/lab/*.h ${PROJECT_SOURCE_DIR}/lab/*.cc
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

if(NOT CMAKE_UNITY_BUILD)
  return()
endif()
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/tidy)
set(tidy_stamps)
# asynclm_tidy(TARGET layer...): checks the target's unity files.
function(asynclm_tidy target)
  get_target_property(dir ${target} BINARY_DIR)
  get_target_property(sources ${target} SOURCES)
  foreach(layer IN LISTS ARGN)
    set(stamp ${PROJECT_BINARY_DIR}/tidy/${layer}.ok)
    add_custom_command(OUTPUT ${stamp} VERBATIM
      COMMENT "clang-tidy ${layer}"
      COMMAND ${CLANG_TIDY} --quiet --warnings-as-errors=* -p ${PROJECT_BINARY_DIR}
        ${dir}/CMakeFiles/${target}.dir/Unity/unity_${layer}_cxx.cxx ${CLANG_TIDY_MISSING}
      COMMAND ${CMAKE_COMMAND} -E touch ${stamp}
      DEPENDS ${sources} ${lint_headers} ${PROJECT_SOURCE_DIR}/.clang-tidy)
    list(APPEND tidy_stamps ${stamp})
  endforeach()
  set(tidy_stamps ${tidy_stamps} PARENT_SCOPE)
endfunction()
asynclm_tidy(asynclm ${asynclm_layers})
asynclm_tidy(asynclm_cli cli)
asynclm_tidy(asynclm_fixtures ${asynclm_fixtures_layers})
asynclm_tidy(asynclm_lab ${asynclm_lab_layers})
add_custom_target(lint_tidy DEPENDS ${tidy_stamps})
