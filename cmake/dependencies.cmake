# Finds every library the build needs and reports all that are missing in one error, with the packages that bring them.
# Looks where CMAKE_PREFIX_PATH, Spack, environment modules or an active conda environment point: config packages first,
# then pkg-config, then plain headers and libraries, because distributions ship different parts of the same library.

# Modules often set only the compiler's CPATH: its entries end in PREFIX/include.
string(REPLACE ":" ";" paths "$ENV{CPATH}:$ENV{CPLUS_INCLUDE_PATH}")
foreach(path IN LISTS paths)
  if(path MATCHES "(.+)/include/?$")
    list(APPEND CMAKE_PREFIX_PATH "${CMAKE_MATCH_1}")
  endif()
endforeach()
if(DEFINED ENV{CONDA_PREFIX})
  list(APPEND CMAKE_PREFIX_PATH "$ENV{CONDA_PREFIX}")
endif()
find_package(PkgConfig QUIET)

# imported_target(NAME HEADER MODULE [LIBRARY]): makes the target NAME where no config package has made it. MODULE is
# pkg-config's name for it; without LIBRARY it is headers only.
function(imported_target name header module)
  if(TARGET ${name})
    return()
  endif()
  if(PKG_CONFIG_FOUND)
    pkg_check_modules(${module}_PC QUIET ${module})
  endif()
  find_path(${module}_HEADERS ${header} HINTS ${${module}_PC_INCLUDE_DIRS})
  mark_as_advanced(${module}_HEADERS)
  if(NOT ${module}_HEADERS)
    return()
  endif()
  if(ARGN)
    find_library(${module}_BINARY ${ARGN} HINTS ${${module}_PC_LIBRARY_DIRS})
    mark_as_advanced(${module}_BINARY)
    if(NOT ${module}_BINARY)
      return()
    endif()
  endif()
  add_library(${name} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${name} INTERFACE "${${module}_HEADERS}")
  if(ARGN)
    target_link_libraries(${name} INTERFACE "${${module}_BINARY}")
  endif()
endfunction()

# need(TARGET "what it is" APT DNF CONDA SPACK): notes a library that was not found, with the packages that bring it.
set(missing "")
function(need target what)
  if(TARGET ${target})
    return()
  endif()
  set(missing "${missing}  ${what}\n" PARENT_SCOPE)
  set(index 0)
  foreach(manager IN ITEMS apt dnf conda spack)
    list(GET ARGN ${index} packages)
    set(missing_${manager} "${missing_${manager}} ${packages}" PARENT_SCOPE)
    math(EXPR index "${index} + 1")
  endforeach()
endfunction()

find_package(OpenMP QUIET COMPONENTS CXX)
need(OpenMP::OpenMP_CXX "OpenMP, which comes with the C++ compiler" g++ gcc-c++ gxx gcc)

set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI QUIET COMPONENTS CXX)
need(MPI::MPI_CXX "MPI 3 with its compiler wrapper mpicxx" "libopenmpi-dev openmpi-bin" openmpi-devel openmpi-mpicxx openmpi)

# Not by its config package: where oneDNN has a GPU runtime, that fails without the headers of OpenCL.
imported_target(DNNL::dnnl oneapi/dnnl/dnnl.hpp dnnl dnnl)
need(DNNL::dnnl "oneDNN" libdnnl-dev onednn-devel onednn-cpu-omp "onednn cpu_runtime=omp")

find_package(Boost QUIET COMPONENTS program_options)
need(Boost::program_options "Boost.ProgramOptions" libboost-program-options-dev boost-devel libboost-devel
  "boost+program_options")

find_package(tomlplusplus QUIET CONFIG)
imported_target(tomlplusplus::tomlplusplus toml++/toml.h tomlplusplus)
need(tomlplusplus::tomlplusplus "toml++ 3" libtomlplusplus-dev tomlplusplus-devel tomlplusplus tomlplusplus)

find_package(nlohmann_json 3 QUIET CONFIG)
imported_target(nlohmann_json::nlohmann_json nlohmann/json.hpp nlohmann_json)
need(nlohmann_json::nlohmann_json "nlohmann JSON 3" nlohmann-json3-dev json-devel nlohmann_json nlohmann-json)

imported_target(pscale::xxhash xxhash.h libxxhash)
need(pscale::xxhash "the header of xxHash" libxxhash-dev xxhash-devel xxhash xxhash)

imported_target(pscale::pcre2 pcre2.h libpcre2-8 pcre2-8)
need(pscale::pcre2 "PCRE2 (8 bits)" libpcre2-dev pcre2-devel pcre2 pcre2)

imported_target(pscale::utf8proc utf8proc.h libutf8proc utf8proc)
need(pscale::utf8proc "utf8proc 2" libutf8proc-dev utf8proc-devel libutf8proc utf8proc)

find_package(Threads REQUIRED)

imported_target(pscale::zlib zlib.h zlib z)
need(pscale::zlib "zlib" zlib1g-dev zlib-devel zlib zlib)

imported_target(pscale::zstd zstd.h libzstd zstd)
need(pscale::zstd "Zstandard 1.4 or later" libzstd-dev libzstd-devel zstd zstd)

# Serial: each rank writes a file of its own. A parallel build of the library would do, too.
find_package(HDF5 QUIET COMPONENTS C)
if(HDF5_FOUND AND NOT TARGET pscale::hdf5)
  add_library(pscale::hdf5 INTERFACE IMPORTED GLOBAL)
  target_include_directories(pscale::hdf5 INTERFACE ${HDF5_C_INCLUDE_DIRS})
  target_link_libraries(pscale::hdf5 INTERFACE ${HDF5_C_LIBRARIES})
endif()
need(pscale::hdf5 "HDF5 1.10 or later" libhdf5-dev hdf5-devel hdf5 "hdf5~mpi")

if(PSCALE_TESTS)
  find_package(GTest QUIET)
  need(GTest::gtest "GoogleTest (only for the tests: -DPSCALE_TESTS=OFF builds without)" libgtest-dev gtest-devel gtest
    googletest)
endif()

if(missing)
  message(FATAL_ERROR "Libraries that were not found:\n${missing}"
    "Install them with one of\n"
    "  apt-get install${missing_apt}\n"
    "  dnf install${missing_dnf}\n"
    "  conda install -c conda-forge${missing_conda}\n"
    "  spack install${missing_spack}\n"
    "or load their modules, or name the folders they are installed in:\n"
    "  CMAKE_PREFIX_PATH=/path/to/one:/path/to/another cmake ...\n")
endif()

# Threads of another runtime would compete with OpenMP's for the same cores.
file(GLOB headers ${dnnl_HEADERS}/oneapi/dnnl/dnnl_config.h)
if(headers)
  file(STRINGS ${headers} runtime REGEX "define DNNL_CPU_THREADING_RUNTIME DNNL_RUNTIME_OMP")
  if(NOT runtime)
    message(WARNING "This oneDNN was not built for OpenMP: its threads will compete with pscale's.")
  endif()
endif()
