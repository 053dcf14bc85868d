#!/bin/sh
# Finds the C header of ONNX Runtime, which its wheels on PyPI do not have, and prints a folder for -DONNXRUNTIME_ROOT.
#
#     runtime/cpp/onnxruntime_headers.sh PYTHON FOLDER
#
# $ONNXRUNTIME_ROOT goes first, then the system's (Debian 13's libonnxruntime-dev); else the header of API 17 comes out of
# AMD Quark's wheel (MIT) into FOLDER/include. Prints nothing where there is no way to it.
set -e
version=0.13
sha256=50dffd48d32043ebc05558bef52551879a3ee919796734458dc60ae83e517c95
python=${1:-python3}
folder=${2:?give a folder}
if [ -n "$ONNXRUNTIME_ROOT" ]; then
    echo "$ONNXRUNTIME_ROOT"
    exit 0
fi
if [ -f /usr/include/onnxruntime/onnxruntime_c_api.h ]; then
    echo /usr
    exit 0
fi
header=$folder/include/onnxruntime_c_api.h
if [ ! -f "$header" ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    # The header is the same for every Python; the wheel's other parts are not used.
    "$python" -m pip download -qq --no-deps --only-binary :all: --python-version 3.11 --dest "$scratch" \
        "amd-quark==$version" >&2 || { echo "onnxruntime_c_api.h was not found: give ONNXRUNTIME_ROOT" >&2; exit 0; }
    "$python" -m zipfile -e "$scratch"/amd_quark-*.whl "$scratch/wheel"
    found=$(find "$scratch/wheel" -name onnxruntime_c_api.h | head -n 1)
    echo "$sha256  $found" | sha256sum --check --quiet >&2 || { echo "amd-quark $version has another header than was tested" >&2; exit 1; }
    mkdir -p "$folder/include"
    cp "$found" "$header.partial"
    mv "$header.partial" "$header"
fi
echo "$folder"
