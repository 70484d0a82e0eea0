# SPDX-License-Identifier: Apache-2.0

# Layers whose code runs once for a task or a call, not once for a token: smaller code is as good, and
# templates of others (valijson, minja, Asio, CLI11, FTXUI) take a third less time to compile.
set(asynclm_small_code_layers models cml dialect tools cli commands)

# asynclm_add_layer(FOLDER LAYER library...): an object library asynclm_LAYER of the .cc files in
# FOLDER/LAYER, which see the libraries. A unity build makes one object of it, so that no object mixes
# layers. Sets LAYER_sources and LAYER_tests, the latter being the files *_test.cc.
function(asynclm_add_layer folder layer)
  file(GLOB tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/${layer}/*_test.cc)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/${layer}/*.cc)
  list(REMOVE_ITEM sources ${tests} ${PROJECT_SOURCE_DIR}/${folder}/${layer}/main.cc)
  set(target asynclm_layer_${layer})
  add_library(${target} OBJECT EXCLUDE_FROM_ALL ${sources})
  set_target_properties(${target} PROPERTIES UNITY_BUILD_BATCH_SIZE 0)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  if(folder STREQUAL "lab")
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/lab)
  endif()
  target_link_libraries(${target} PRIVATE nlohmann_json::nlohmann_json ${ARGN} asynclm_build_options)
  if(layer IN_LIST asynclm_small_code_layers)
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-Os>)
  endif()
  set(${layer}_sources ${sources} PARENT_SCOPE)
  set(${layer}_tests ${tests} PARENT_SCOPE)
endfunction()
