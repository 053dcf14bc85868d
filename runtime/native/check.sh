#!/bin/sh
# Builds the fused CPU kernels and OpenVINO's extension to build/native, and tests them, also under sanitizers.
#
#     runtime/native/check.sh PYTHON [quick]
#
# PYTHON is one that has the openvino package, whose SDK the extension is built with. `quick` stops after the tests.
set -e
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$here/../.." && pwd)/build/native
python=${1:-python3}
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
sh "$here/../cpp/install_deps.sh"
mkdir -p "$build"

make_in() { # folder, then what to give to cmake
    folder=$1
    shift
    cmake -S "$here" -B "$folder" -G Ninja "-DHRT_PYTHON=$python" "$@" >"$folder.log" 2>&1 || { cat "$folder.log"; exit 1; }
    cmake --build "$folder" --parallel 2 >"$folder.log" 2>&1 || { cat "$folder.log"; exit 1; }
    ctest --test-dir "$folder" --output-on-failure
}

make_in "$build/release"
cp "$build/release/libharmonyrt_native_openvino.so" "$build/libharmonyrt_native_openvino.so.partial"
mv "$build/libharmonyrt_native_openvino.so.partial" "$build/libharmonyrt_native_openvino.so"
echo "built build/native/libharmonyrt_native_openvino.so"
[ "$2" = quick ] || make_in "$build/asan-ubsan" -DHRT_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo -DHRT_NATIVE_OPENVINO=OFF
