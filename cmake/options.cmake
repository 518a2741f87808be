# Compiler settings shared by every target. One place, so that a preset only names what differs.
option(DVS_BUILD_TESTS "Build the tests" ON)
option(DVS_BUILD_BENCHMARKS "Build the benchmarks" ON)
option(DVS_BUILD_FUZZERS "Build the fuzz targets (needs clang)" OFF)
option(DVS_WERROR "Treat warnings as errors" ON)
set(DVS_SANITIZE "" CACHE STRING "Value for -fsanitize=, e.g. address,undefined or thread")

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

find_program(DVS_CCACHE ccache)
if(DVS_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${DVS_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${DVS_CCACHE})
endif()

add_compile_options(-Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> -Wundef)
if(DVS_WERROR)
  add_compile_options(-Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 19)
  # libstdc++ offers std::expected only to compilers that announce this level of concepts; clang
  # has what it needs since 16 but announces the level only since 19.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-D__cpp_concepts=202002L>
                      $<$<COMPILE_LANGUAGE:CXX>:-Wno-builtin-macro-redefined>
                      $<$<COMPILE_LANGUAGE:CXX>:-Wno-macro-redefined>)
endif()
if(DVS_SANITIZE)
  add_compile_options(-fsanitize=${DVS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${DVS_SANITIZE})
endif()
# Asio is compiled once, in src/runtime/asio.cpp.
add_compile_definitions(BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED
                        SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL)
