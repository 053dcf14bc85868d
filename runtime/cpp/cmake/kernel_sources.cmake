# Writes the CUDA kernels' sources as a C++ file: FILES of FOLDER, the first being what is compiled, into OUTPUT. As bytes,
# since compilers limit the length of string literals.
set(arrays "")
set(table "")
foreach(name IN LISTS FILES)
  file(READ ${FOLDER}/${name} bytes HEX)
  string(LENGTH "${bytes}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
  string(MAKE_C_IDENTIFIER ${name} symbol)
  string(APPEND arrays "const char ${symbol}[] = {${bytes}0};\n")
  string(APPEND table "    {\"${name}\", ${symbol}, ${size}},\n")
endforeach()
file(WRITE ${OUTPUT} "// Made by cmake/kernel_sources.cmake.
#include \"device/nvrtc.hpp\"

namespace hrt::device {
namespace {
${arrays}} // namespace

const KernelSource kKernelSources[] = {
${table}};
const std::size_t kKernelSourceCount = sizeof kKernelSources / sizeof kKernelSources[0];

} // namespace hrt::device
")
