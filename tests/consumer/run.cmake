# SPDX-License-Identifier: Apache-2.0
# Installs BUILD into WORK/prefix, then builds and runs the consumer against that.
#   cmake -D BUILD=… -D WORK=… -D CXX=… -P run.cmake
file(REMOVE_RECURSE ${WORK})
foreach(command IN ITEMS
    "${CMAKE_COMMAND};--install;${BUILD};--prefix;${WORK}/prefix"
    "${CMAKE_COMMAND};-G;Ninja;-S;${CMAKE_CURRENT_LIST_DIR};-B;${WORK}/build;-DCMAKE_PREFIX_PATH=${WORK}/prefix;-DCMAKE_CXX_COMPILER=${CXX};-DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF"
    "${CMAKE_COMMAND};--build;${WORK}/build"
    "${WORK}/build/consumer")
  execute_process(COMMAND ${command} RESULT_VARIABLE status)
  if(status)
    list(JOIN command " " command)
    message(FATAL_ERROR "'${command}' failed: ${status}")
  endif()
endforeach()
if(EXISTS ${WORK}/prefix/bin/asynclm)
  execute_process(COMMAND ${WORK}/prefix/bin/asynclm --version COMMAND_ERROR_IS_FATAL ANY)
endif()
file(REMOVE_RECURSE ${WORK})
