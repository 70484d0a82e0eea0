# SPDX-License-Identifier: Apache-2.0
# Everything asynclm needs from the system, with the oldest version that has what we use. The probe
# project (env/probe) includes this file too: a host where it configures builds natively.

# libllama promises no ABI or API across its 0.x versions, so the adapter (src/engine/llama*) names the
# version it was written and measured against; a newer 0.x is tried, with a word about it.
set(ASYNCLM_LLAMA_TESTED 0.7.0)
find_package(llama CONFIG QUIET)
if(NOT llama_FOUND)
  message(FATAL_ERROR "libllama was not found (Debian: libllama-dev). asynclm needs llama.cpp's library "
    "${ASYNCLM_LLAMA_TESTED} or a newer 0.x; set CMAKE_PREFIX_PATH where it lies elsewhere.")
elseif(LLAMA_VERSION VERSION_LESS ASYNCLM_LLAMA_TESTED OR NOT LLAMA_VERSION VERSION_LESS 1.0)
  message(FATAL_ERROR "libllama ${LLAMA_VERSION} was found in ${llama_DIR}, but asynclm is written for "
    "${ASYNCLM_LLAMA_TESTED} up to the last 0.x. Install such a version or set CMAKE_PREFIX_PATH to one.")
elseif(LLAMA_VERSION VERSION_GREATER ASYNCLM_LLAMA_TESTED)
  message(STATUS "libllama ${LLAMA_VERSION}: newer than ${ASYNCLM_LLAMA_TESTED}, untested with asynclm")
endif()

find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 CONFIG REQUIRED)
find_package(valijson CONFIG REQUIRED)
find_package(minja CONFIG REQUIRED)
# Headers alone: Asio, Regex, Nowide's UTF-8.
find_package(Boost 1.81 CONFIG REQUIRED COMPONENTS headers)
find_package(CLI11 2.4 CONFIG REQUIRED)
find_package(ftxui 6 CONFIG REQUIRED)
find_package(GTest 1.14 CONFIG REQUIRED)

# The model store: downloads, SHA-256, wheels.
find_package(CURL 7.88 REQUIRED)
find_package(OpenSSL 3 REQUIRED COMPONENTS Crypto)
find_package(LibArchive 3.6 REQUIRED)

# valijson with its nlohmann-json adapter, as one target.
add_library(asynclm_json_schema INTERFACE)
target_link_libraries(asynclm_json_schema INTERFACE valijson nlohmann_json::nlohmann_json)
