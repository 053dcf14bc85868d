#!/bin/sh
# Builds the fused CPU kernels to build/native, for OpenVINO and ONNX Runtime, and tests them, also under sanitizers;
# then the wheel of harmonyrt-native.
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
onnxruntime=$(sh "$here/../cpp/onnxruntime_headers.sh" "$python" "$build/onnxruntime")

make_in() { # folder, then what to give to cmake
    folder=$1
    shift
    cmake -S "$here" -B "$folder" -G Ninja "-DHRT_PYTHON=$python" "-DONNXRUNTIME_ROOT=$onnxruntime" "$@" >"$folder.log" 2>&1 || { cat "$folder.log"; exit 1; }
    cmake --build "$folder" --parallel 2 >"$folder.log" 2>&1 || { cat "$folder.log"; exit 1; }
    ctest --test-dir "$folder" --output-on-failure
}

make_in "$build/release"
for face in openvino onnxruntime; do
    library=libharmonyrt_native_$face.so
    [ -f "$build/release/$library" ] || { rm -f "$build/$library"; continue; }
    cp "$build/release/$library" "$build/$library.partial"
    mv "$build/$library.partial" "$build/$library"
    echo "built build/native/$library"
done
[ "$2" = quick ] && exit 0
sh "$here/wheel.sh" "$python"
make_in "$build/asan-ubsan" -DHRT_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo -DHRT_NATIVE_OPENVINO=OFF
# The operators too, inside an ONNX Runtime that is not instrumented: sanitizers see what ours read and write.
sanitized=$build/asan-ubsan/libharmonyrt_native_onnxruntime.so
[ ! -f "$sanitized" ] || HARMONYRT_NATIVE_LIBRARY=$sanitized ASAN_OPTIONS=detect_leaks=0 \
    LD_PRELOAD="$(c++ -print-file-name=libasan.so) $(c++ -print-file-name=libubsan.so)" \
    "$python" -m pytest -p no:cacheprovider "$here/../../tests/runtime/backends/test_onnxruntime_native.py"
