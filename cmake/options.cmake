# SPDX-License-Identifier: Apache-2.0
# What every target of this project is compiled with: language, warnings, sanitizers, ccache.

option(ASYNCLM_BUILD_TESTS "Build the unit tests and register all tests" ${PROJECT_IS_TOP_LEVEL})
option(ASYNCLM_WARNINGS_AS_ERRORS "Stop at compiler warnings" OFF)
set(ASYNCLM_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=: address,undefined or thread")

option(ASYNCLM_FUZZ "Build the fuzz targets with libFuzzer (clang)" OFF)

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
# clang-tidy reads the compile commands and knows nothing of g++'s module scanning flags.
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# A link of a sanitizer build takes about a gigabyte, and it gains little from company.
set_property(GLOBAL APPEND PROPERTY JOB_POOLS link=1)
set(CMAKE_JOB_POOL_LINK link)

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(CCACHE_PROGRAM ccache)
  if(CCACHE_PROGRAM)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  endif()
endif()

add_library(asynclm_build_options INTERFACE)
target_compile_options(asynclm_build_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 16 does not follow a std::variant's index through moves and reports members of the wrong
  # alternative. What it would really find, the sanitizer and clang-tidy builds find.
  target_compile_options(asynclm_build_options INTERFACE -Wno-maybe-uninitialized)
  if(CMAKE_UNITY_BUILD)
    # There it takes source files for headers, of which others could make another type.
    target_compile_options(asynclm_build_options INTERFACE -Wno-subobject-linkage)
  endif()
endif()
if(ASYNCLM_WARNINGS_AS_ERRORS)
  target_compile_options(asynclm_build_options INTERFACE -Werror)
endif()
if(ASYNCLM_SANITIZE)
  target_compile_options(asynclm_build_options INTERFACE
    -fsanitize=${ASYNCLM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    target_compile_options(asynclm_build_options INTERFACE
      -fsanitize-ignorelist=${CMAKE_CURRENT_LIST_DIR}/sanitizer_ignore.txt)
  endif()
  target_link_options(asynclm_build_options INTERFACE -fsanitize=${ASYNCLM_SANITIZE})
endif()
if(ASYNCLM_FUZZ)
  target_compile_options(asynclm_build_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
