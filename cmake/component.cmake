# dvs_component(NAME name DIR dir SOURCES ... [DEPENDS components...] [LINK external targets...])
#
# One library per folder of src/. DEPENDS names the only folders whose headers it may include; the
# build fails on an include that is not declared (cmake/check_layers.cmake).
function(dvs_component)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPENDS;LINK" ${ARGN})
  add_library(${ARG_NAME} STATIC ${ARG_SOURCES})
  target_include_directories(${ARG_NAME} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${ARG_NAME} PUBLIC ${ARG_DEPENDS} ${ARG_LINK})
  file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR})
  set_property(GLOBAL APPEND PROPERTY DVS_COMPONENTS ${ARG_NAME})
  set_property(GLOBAL PROPERTY DVS_FOLDER_${ARG_NAME} ${folder})
  set_property(GLOBAL PROPERTY DVS_DEPENDS_${ARG_NAME} "${ARG_DEPENDS}")
endfunction()

# dvs_test(NAME name SOURCES ... [LINK targets...] [LABELS ...] [TIMEOUT seconds])
function(dvs_test)
  if(NOT DVS_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LINK} GTest::gtest_main)
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  gtest_discover_tests(${ARG_NAME} DISCOVERY_MODE PRE_TEST
                       PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()

# Called once at the end: writes down who may include whom and checks it in every build.
function(dvs_check_layers)
  get_property(components GLOBAL PROPERTY DVS_COMPONENTS)
  set(table "")
  foreach(component IN LISTS components)
    get_property(folder GLOBAL PROPERTY DVS_FOLDER_${component})
    get_property(depends GLOBAL PROPERTY DVS_DEPENDS_${component})
    set(folders ${folder})
    # Transitive: what a component's interface shows, its users see too.
    set(pending ${depends})
    while(pending)
      list(POP_FRONT pending next)
      get_property(next_folder GLOBAL PROPERTY DVS_FOLDER_${next})
      if(next_folder AND NOT next_folder IN_LIST folders)
        list(APPEND folders ${next_folder})
        get_property(more GLOBAL PROPERTY DVS_DEPENDS_${next})
        list(APPEND pending ${more})
      endif()
    endwhile()
    list(JOIN folders "," joined)
    string(APPEND table "${joined}\n")
  endforeach()
  file(WRITE ${CMAKE_BINARY_DIR}/layers.txt "${table}")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.hpp
       ${PROJECT_SOURCE_DIR}/src/*.cpp)
  add_custom_command(
    OUTPUT ${CMAKE_BINARY_DIR}/layers.stamp
    COMMAND ${CMAKE_COMMAND} -DTABLE=${CMAKE_BINARY_DIR}/layers.txt -DROOT=${PROJECT_SOURCE_DIR}/src
            -DSTAMP=${CMAKE_BINARY_DIR}/layers.stamp -P ${PROJECT_SOURCE_DIR}/cmake/check_layers.cmake
    DEPENDS ${sources} ${CMAKE_BINARY_DIR}/layers.txt ${PROJECT_SOURCE_DIR}/cmake/check_layers.cmake
    COMMENT "Checking that includes follow the declared layers")
  add_custom_target(layers ALL DEPENDS ${CMAKE_BINARY_DIR}/layers.stamp)
endfunction()
