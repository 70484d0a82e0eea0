# SPDX-License-Identifier: Apache-2.0

# asynclm_collect(SOURCES TESTS FOLDER layer...): the .cc files of the layers under FOLDER, test files apart.
# A unity build makes one translation unit of each layer, so that no object mixes layers (the layer lint
# looks at what the objects need of each other).
function(asynclm_collect sources tests folder)
  set(all)
  foreach(layer IN LISTS ARGN)
    file(GLOB files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/${layer}/*.cc)
    set_source_files_properties(${files} DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} PROPERTIES UNITY_GROUP ${layer})
    list(APPEND all ${files})
  endforeach()
  set(test_files ${all})
  list(FILTER test_files INCLUDE REGEX "_test\\.cc$")
  list(FILTER all EXCLUDE REGEX "_test\\.cc$")
  set(${sources} ${all} PARENT_SCOPE)
  set(${tests} ${test_files} PARENT_SCOPE)
endfunction()
