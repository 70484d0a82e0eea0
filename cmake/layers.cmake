# SPDX-License-Identifier: Apache-2.0

# asynclm_collect(SOURCES TESTS layer...): the .cc files of the layers under src/, test files apart.
# A layer's folder may be missing.
function(asynclm_collect sources tests)
  set(all)
  foreach(layer IN LISTS ARGN)
    file(GLOB files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${layer}/*.cc)
    list(APPEND all ${files})
  endforeach()
  set(test_files ${all})
  list(FILTER test_files INCLUDE REGEX "_test\\.cc$")
  list(FILTER all EXCLUDE REGEX "_test\\.cc$")
  set(${sources} ${all} PARENT_SCOPE)
  set(${tests} ${test_files} PARENT_SCOPE)
endfunction()
