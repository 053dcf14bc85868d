#!/bin/sh
# Installs to a scratch folder, moves it (packages must not depend on where they were made), then builds and runs a
# program against it: once through find_package(HarmonyRT), once through pkg-config.
set -e
cmake=$1 build=$2 project=$3 bundle=$4 modules=$5
scratch=$build/consumer
rm -rf "$scratch"
"$cmake" --install "$build" --prefix "$scratch/before" >/dev/null
mv "$scratch/before" "$scratch/prefix"

"$cmake" -S "$project" -B "$scratch/cmake" -DCMAKE_PREFIX_PATH="$scratch/prefix" >/dev/null
"$cmake" --build "$scratch/cmake" >/dev/null
HARMONYRT_MODULES=$modules "$scratch/cmake/consumer" "$bundle"

folder=$(dirname "$(find "$scratch/prefix" -name harmonyrt.pc)")
flags=$(PKG_CONFIG_PATH=$folder pkg-config --cflags --libs harmonyrt)
# shellcheck disable=SC2086
c++ -std=c++17 "$project/consumer.cpp" $flags -Wl,-rpath,"$folder/.." -o "$scratch/by-pkg-config"
HARMONYRT_MODULES=$modules "$scratch/by-pkg-config" "$bundle"
