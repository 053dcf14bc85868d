#!/bin/sh
# Builds, tests and installs libharmonyrt (to build/cpp/install), then runs the suite under sanitizers and valgrind and
# the fuzzers for a few seconds each. About two minutes on two cores.
#
#     runtime/cpp/check.sh PYTHON [quick]
#
# PYTHON is one that has the openvino package, whose SDK the OpenVINO backend is built with; without it that backend is
# left out, as is ONNX Runtime's without its C header. `quick` stops after the tests.
set -e
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${1:-python3}
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
build=$root/build/cpp
fuzz_seconds=${FUZZ_SECONDS:-10}

say() { printf '== %s\n' "$*"; }

preset() { # name, then what to give to cmake; of all targets, or of those that $only names
    name=$1
    shift
    say "$name: build"
    (cd "$here" && cmake --preset "$name" "$@" >"$build/$name.log" 2>&1) || { cat "$build/$name.log"; exit 1; }
    grep "HarmonyRT:" "$build/$name.log" || true
    # shellcheck disable=SC2086
    cmake --build "$build/$name" --parallel 2 ${only:+--target $only} >"$build/$name.log" 2>&1 || { cat "$build/$name.log"; exit 1; }
}

tests() { # preset, then what to give to ctest
    name=$1
    shift
    say "$name: test"
    ctest --test-dir "$build/$name" --output-on-failure "$@"
}

mkdir -p "$build"
[ "$2" = quick ] && sh "$here/install_deps.sh" || sh "$here/install_deps.sh" --hardness

onnxruntime=$(sh "$here/onnxruntime_headers.sh" "$python" "$build/onnxruntime")
# The wheel's own ONNX Runtime serves the tests; without it they leave out what needs one.
if [ -z "$HARMONYRT_ONNXRUNTIME" ]; then
    HARMONYRT_ONNXRUNTIME=$("$python" -c 'import importlib.util as u, pathlib as p; s = u.find_spec("onnxruntime")
print(next(map(str, p.Path(s.origin).parent.glob("capi/libonnxruntime.so.1*")), "") if s and s.origin else "")')
    [ -z "$HARMONYRT_ONNXRUNTIME" ] || export HARMONYRT_ONNXRUNTIME
fi
preset release "-DHRT_PYTHON=$python" "-DONNXRUNTIME_ROOT=$onnxruntime"
tests release
cmake --install "$build/release" --prefix "$build/install" >/dev/null
say "installed to build/cpp/install: libharmonyrt.so has $(stat -Lc %s "$build/install/lib/libharmonyrt.so") bytes"
[ "$2" = quick ] && exit 0

preset asan-ubsan
tests asan-ubsan
only="test_face test_vectors"
preset tsan
tests tsan -R "test_face|test_vectors"
only=""

# Not under valgrind: threads that it runs one at a time, forks, and OpenVINO, whose loading ld.so does in whole words.
say "valgrind"
valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
    "$build/release/tests/test_face" --no-version --minimal --test-case-exclude="*eight threads*,a forked child*,*at once on OpenVINO*"

preset fuzz
fuzz() { # target
    say "fuzz_$1, $fuzz_seconds s"
    mkdir -p "$build/corpus-$1"
    for bundle in hand-made-64 hand-made-kl hand-made-harmony; do
        [ "$1" != manifest ] || cp "$root/tests/vectors/$bundle/manifest.json" "$build/corpus-$1/$bundle.json"
    done
    "$build/fuzz/fuzz/fuzz_$1" -max_total_time="$fuzz_seconds" -max_len=16384 -print_final_stats=1 \
        -artifact_prefix="$build/" "$build/corpus-$1" 2>"$build/fuzz_$1.log" ||
        { tail -40 "$build/fuzz_$1.log"; exit 1; }
    grep -E "number_of_executed_units|new_units_added" "$build/fuzz_$1.log" | sed "s/^/fuzz_$1 /"
}
fuzz manifest & # each takes one core
manifest=$!
fuzz arguments
wait "$manifest"
say "all fine"
