#!/bin/sh
# The library exports hrt_* and nothing else, and needs no library but the C and C++ ones.
set -e
exported=$(nm -D --defined-only "$1" | awk '{print $3}' | grep -v '^hrt_' | grep -v '^$' || true)
if [ -n "$exported" ]; then
    echo "exported besides hrt_*:" "$exported"
    exit 1
fi
count=$(nm -D --defined-only "$1" | grep -c ' hrt_')
needed=$(readelf -d "$1" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(lib(stdc\+\+|m|gcc_s|c|dl|pthread|asan|ubsan|tsan)\.so|ld-linux)' || true)
if [ -n "$needed" ]; then
    echo "needs besides the C and C++ libraries:" "$needed"
    exit 1
fi
echo "$count symbols, $(stat -Lc %s "$1") bytes"
