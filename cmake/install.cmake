# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where, and the package file that find_package(asynclm) reads.
include(CMakePackageConfigHelpers)

install(TARGETS asynclm EXPORT asynclmTargets)
install(DIRECTORY include/asynclm TYPE INCLUDE FILES_MATCHING PATTERN "*.h")
if(TARGET asynclm_program)
  install(TARGETS asynclm_program)
endif()
install(FILES LICENSE TYPE DOC)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/asynclm)
install(EXPORT asynclmTargets NAMESPACE asynclm:: DESTINATION ${package_dir})
configure_package_config_file(cmake/asynclmConfig.cmake.in asynclmConfig.cmake
  INSTALL_DESTINATION ${package_dir} PATH_VARS CMAKE_INSTALL_DATADIR)
write_basic_package_version_file(asynclmConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/asynclmConfig.cmake ${PROJECT_BINARY_DIR}/asynclmConfigVersion.cmake
  DESTINATION ${package_dir})
