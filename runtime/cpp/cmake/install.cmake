# Install rules, find_package(HarmonyRT) and pkg-config.

include(CMakePackageConfigHelpers)

install(TARGETS harmonyrt EXPORT HarmonyRTTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(HRT_MODULES)
  install(TARGETS ${HRT_MODULES} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/harmonyrt)
endif()

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/HarmonyRT)
install(EXPORT HarmonyRTTargets NAMESPACE HarmonyRT:: DESTINATION ${package})
configure_package_config_file(cmake/HarmonyRTConfig.cmake.in ${CMAKE_BINARY_DIR}/HarmonyRTConfig.cmake
                              INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/HarmonyRTConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/HarmonyRTConfig.cmake ${CMAKE_BINARY_DIR}/HarmonyRTConfigVersion.cmake
        DESTINATION ${package})

# Relative to where the .pc file lies, so that an installed tree can be moved.
file(RELATIVE_PATH to_include /${CMAKE_INSTALL_LIBDIR}/pkgconfig /${CMAKE_INSTALL_INCLUDEDIR})
set(HRT_PC_INCLUDEDIR "\${pcfiledir}/${to_include}")
configure_file(cmake/harmonyrt.pc.in ${CMAKE_BINARY_DIR}/harmonyrt.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/harmonyrt.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
